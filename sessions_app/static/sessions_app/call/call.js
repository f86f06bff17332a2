// The call page: one call after the other, each from the button to its end.

import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { HAS_WORKLETS, Sound, openMicrophone } from "./sound.js";
import * as words from "./words.js";

const RATE = 24000;
const LOUDEST = -10; // decibels: where the meter is full
const QUIETEST = -60;

const page = document.getElementById("call");
const part = (name) => page.querySelector(`[data-part="${name}"]`);
const conversation = new Conversation(part("conversation"), { caller: "You", agent: page.dataset.agent });

let call = null;

class Call {
  #sound = null;
  #connection = null;
  #began = 0;
  #clock = 0;
  #isMuted = false;
  #isOver = false;

  // Called by a click, which is why sound may begin. Everything after the first `await` is later than that.
  constructor() {
    if (HAS_WORKLETS) this.#sound = new Sound();
  }

  // `firstWords` are sent as soon as the agent hears.
  async start({ withMicrophone, firstWords = "" }) {
    show("connecting");
    const stream = withMicrophone && this.#sound ? await this.#askForMicrophone() : null;
    if (this.#isOver) return stop(stream); // hung up meanwhile
    try {
      const { url, session } = await requestSession();
      if (!this.#isOver) await this.#openSound();
      if (this.#isOver) {
        stop(stream);
        return leave(url);
      }
      this.#listen(stream);
      this.#connect(url, !withMicrophone, firstWords);
      page.dataset.session = session;
      part("watch").href = `${page.dataset.sessions}${session}/`;
      part("watch").hidden = false;
    } catch (error) {
      stop(stream);
      part("doctor")?.toggleAttribute("hidden", this.#isOver || error.status !== 503);
      this.#finish(error instanceof Refused ? error.message : words.NO_ANSWER);
    }
  }

  async #askForMicrophone() {
    try {
      part("status").textContent = "Allow the microphone …";
      return await openMicrophone();
    } catch (error) {
      if (!this.#isOver) note(words.microphoneTrouble(error));
      return null;
    }
  }

  async #openSound() {
    await this.#sound?.open(RATE, {
      onFrame: ({ pcm, level }) => {
        meter("level", level);
        this.#connection?.sendAudio(pcm);
      },
      onPlayed: ({ heard, level }) => {
        meter("voice", level);
        if (heard === undefined) return;
        page.dataset.heard = heard;
        this.#connection?.reportPlayed(heard);
      },
      onState: (mayPlay) => (part("unlock").hidden = mayPlay),
    });
  }

  #listen(stream) {
    part("mute").disabled = !stream;
    page.dataset.microphone = stream ? "on" : "off";
    if (!stream) return;
    this.#sound.listenTo(stream, () => note(words.MICROPHONE_GONE));
  }

  #connect(url, isTyped, firstWords) {
    const hasSound = this.#sound !== null;
    this.#connection = new Connection({ url, rate: RATE, hasSound }, {
      onWelcome: () => this.#goOn(isTyped, firstWords),
      onMessage: (message) => this.#read(message),
      onAudio: (position, pcm) => this.#sound?.play(position, pcm),
      onLost: () => {
        this.#sound?.clear(Infinity);
        show("reconnecting", words.RECONNECTING);
      },
      onOver: (reason) => this.#finish(words.ending(reason)),
    });
    this.#connection.open();
  }

  #goOn(isTyped, firstWords) {
    show("listening", words.STATES.listening);
    if (this.#clock) return;
    this.#began = performance.now();
    this.#clock = setInterval(() => this.#tick(), 250);
    this.#tick();
    if (firstWords) this.type(firstWords);
    else if (isTyped) part("words").focus({ preventScroll: true }); // else a telephone would show its keyboard
  }

  #tick() {
    const seconds = Math.floor((performance.now() - this.#began) / 1000);
    part("timer").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  #read(message) {
    if (message.type === "state") show(message.state, words.STATES[message.state]);
    else if (message.type === "clear") this.#sound?.clear(message.position);
    else if (message.type === "error") note(message.message);
    else conversation.read(message);
  }

  mute() {
    this.#isMuted = !this.#isMuted;
    this.#sound?.mute(this.#isMuted);
    part("mute").setAttribute("aria-pressed", this.#isMuted);
    part("mute").textContent = this.#isMuted ? "Unmute" : "Mute";
  }

  type(text) {
    if (!this.#connection?.sendText(text)) return false;
    conversation.typed(text);
    return true;
  }

  unlock() {
    this.#sound?.resume();
  }

  hangUp() {
    if (this.#connection) this.#connection.hangUp();
    else this.#finish(words.ending("hangup"));
  }

  #finish(text) {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#clock);
    this.#sound?.close();
    meter("level", 0);
    meter("voice", 0);
    part("unlock").hidden = true;
    if (this.#isMuted) this.mute();
    call = null;
    show("over", text);
  }
}

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// A session of our agent, or the server's reason why there is none.
async function requestSession() {
  const response = await fetch(page.dataset.start, {
    method: "POST",
    headers: { "X-CSRFToken": page.dataset.csrf },
    signal: AbortSignal.timeout(15_000),
  });
  // A page instead of an answer comes from before our view: the form's token is old, or a proxy has nobody behind it.
  const isAnswer = response.headers.get("Content-Type")?.startsWith("application/json");
  if (!isAnswer) throw new Refused(response.status, words.refusal(response.status));
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer.message);
  return answer;
}

// A session that nobody wants any more is entered only to end it: else it would wait for its caller for minutes.
function leave(url) {
  const nothing = () => {};
  const told = { onWelcome: () => connection.hangUp(), onMessage: nothing, onAudio: nothing, onLost: nothing, onOver: nothing };
  const connection = new Connection({ url, rate: RATE, hasSound: false }, told);
  connection.open();
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function show(state, text = "Connecting …") {
  page.dataset.state = state;
  part("status").textContent = text;
  const isIdle = state === "over" || state === "idle";
  part("start").hidden = part("quiet").hidden = !isIdle;
  part("hangup").hidden = part("mute").hidden = isIdle;
  part("words").disabled = part("send").disabled = isIdle || state === "connecting" || state === "reconnecting";
  for (const example of page.querySelectorAll("button.example")) example.disabled = !isIdle && part("words").disabled;
  if (state === "over") part("start").textContent = "Call again";
}

function note(text) {
  part("note").textContent = text;
  part("note").hidden = !text;
}

function meter(name, level) {
  const decibels = 20 * Math.log10(Math.max(level, 1e-6));
  part(name).value = Math.max(0, Math.min(1, (decibels - QUIETEST) / (LOUDEST - QUIETEST)));
}

function begin(withMicrophone, firstWords) {
  if (call) return;
  note(withMicrophone ? trouble() : "");
  part("doctor")?.setAttribute("hidden", "");
  part("watch").hidden = true;
  conversation.clear();
  call = new Call();
  call.start({ withMicrophone, firstWords });
}

// What the visitor should know before a call.
function trouble() {
  if (HAS_WORKLETS) return "";
  return window.isSecureContext ? words.NO_WORKLETS : words.insecure(page.dataset.local);
}

part("start").addEventListener("click", () => begin(true));
part("quiet").addEventListener("click", () => begin(false));
part("hangup").addEventListener("click", () => call?.hangUp());
part("mute").addEventListener("click", () => call?.mute());
part("unlock").addEventListener("click", () => call?.unlock());
part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = part("words").value.trim();
  if (text && call?.type(text)) part("words").value = "";
});
for (const example of page.querySelectorAll("button.example")) {
  const sentence = example.textContent.trim();
  example.addEventListener("click", () => (call ? call.type(sentence) : begin(false, sentence)));
}
window.addEventListener("pagehide", () => call?.hangUp());

part("start").disabled = part("quiet").disabled = false; // until now a press would have had no effect
note(trouble());
