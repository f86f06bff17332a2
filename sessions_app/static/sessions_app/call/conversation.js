// What is said, as it is said: the caller's words while they are recognised, the agent's while it thinks of them.

const AT_THE_END = 40; // pixels from the end within which the list follows what is new

export class Conversation {
  #list;
  #utterances = new Map(); // entries of what is being recognised
  #turns = new Map(); // {entry, sentences, tail, first} of the agent; the tail begins with the first sentence
  #names;

  constructor(list, names) {
    this.#list = list;
    this.#names = names;
  }

  clear() {
    this.#list.replaceChildren();
    this.#utterances.clear();
    this.#turns.clear();
  }

  typed(text) {
    this.#add("caller").append(text);
    this.#follow();
  }

  read(message) {
    const isAtEnd = this.#isAtEnd();
    this[`_${message.type}`]?.(message);
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  _transcript({ text, final, utterance }) {
    let words = this.#utterances.get(utterance);
    if (!text) {
      words?.closest("li").remove();
      this.#utterances.delete(utterance);
      return;
    }
    if (!words) {
      words = this.#add("caller");
      this.#utterances.set(utterance, words);
    }
    words.textContent = text;
    words.classList.toggle("interim", !final);
  }

  // A model that goes on for another one begins the unfinished sentence anew.
  _delta({ text, turn, anew, sentence }) {
    const current = this.#turn(turn);
    if (anew) {
      current.tail.textContent = "";
      current.first = sentence;
    }
    current.tail.append(text);
  }

  _reply({ text, turn, sentence }) {
    const { sentences, tail, first } = this.#turn(turn);
    const words = sentences.get(sentence) ?? document.createElement("span");
    words.textContent = `${text} `;
    sentences.set(sentence, words);
    tail.before(words);
    if (sentence < first) return;
    const rest = tail.textContent.trimStart();
    tail.textContent = rest.startsWith(text) ? rest.slice(text.length) : "";
  }

  // What was not heard was not said.
  _interrupted({ heard, turn, sentence }) {
    const { entry, sentences, tail } = this.#turn(turn);
    tail.remove();
    for (const [number, words] of sentences) {
      if (number > sentence) words.remove();
      else if (number === sentence) words.textContent = heard;
    }
    entry.classList.add("cut");
    if (!entry.textContent.trim()) entry.closest("li").remove();
  }

  #turn(number) {
    let turn = this.#turns.get(number);
    if (!turn) {
      const entry = this.#add("agent");
      const tail = document.createElement("span");
      tail.className = "interim";
      entry.append(tail);
      turn = { entry, sentences: new Map(), tail, first: 0 };
      this.#turns.set(number, turn);
    }
    return turn;
  }

  #add(speaker) {
    const item = document.createElement("li");
    const name = document.createElement("span");
    const words = document.createElement("p");
    item.className = speaker;
    name.className = "speaker";
    name.textContent = this.#names[speaker];
    item.append(name, words);
    this.#list.append(item);
    return words;
  }

  #isAtEnd() {
    return this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < AT_THE_END;
  }

  #follow() {
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}
