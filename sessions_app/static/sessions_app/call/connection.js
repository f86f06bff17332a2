// The open websocket protocol, version 1 (docs/websocket-protocol.md): hello, audio with positions, a way back after a
// lost socket.

const VERSION = 1;
const AUDIO = 1;
const HEADER_SIZE = 16;
const KEPT_SECONDS = 30; // of the microphone: more than a lost socket can cost
const RETURN_SECONDS = 20; // after which the server gives the call up
const PAUSES = [0.2, 0.5, 1, 2]; // seconds before each try; the last one goes on
const FIRST_TRIES = 2; // an address that has never answered will not soon
const CONNECT_SECONDS = 5;
const PING_SECONDS = 2;
const SILENT_SECONDS = 5; // without an answer to a ping: the line is dead, though nobody has closed it

export class Connection {
  #room;
  #token;
  #rate;
  #hasSound;
  #told; // {onWelcome, onMessage, onAudio, onLost, onOver}
  #socket = null;
  #isWelcome = false;
  #wasWelcome = false;
  #isOver = false;
  #kept = []; // {position, pcm} of the last seconds
  #position = 0; // samples of the microphone so far
  #sequence = 0;
  #heard = 0; // where the ear is
  #lostAt = 0;
  #lostPosition = Infinity; // of the microphone, when the socket was lost
  #tries = 0;
  #retry = 0;
  #pulse = 0;
  #pingAt = 0; // when the ping that waits for its answer was sent

  constructor({ url, rate, hasSound }, told) {
    const cut = url.lastIndexOf("/");
    this.#room = url.slice(0, cut);
    this.#token = url.slice(cut + 1);
    this.#rate = rate;
    this.#hasSound = hasSound;
    this.#told = told;
  }

  open() {
    const socket = new WebSocket(`${this.#room}/${this.#token}`);
    const patience = setTimeout(() => this.#abandon(socket), CONNECT_SECONDS * 1000);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#say(this.#hello());
    socket.onmessage = ({ data }) => {
      this.#pingAt = 0;
      if (typeof data === "string") this.#read(JSON.parse(data), patience);
      else this.#hear(data);
    };
    socket.onclose = () => {
      clearTimeout(patience);
      this.#lose();
    };
    this.#socket = socket;
  }

  // 20 ms of the microphone. They are kept, sent or not.
  sendAudio(pcm) {
    const frame = { position: this.#position, pcm };
    this.#position += pcm.length;
    this.#kept.push(frame);
    while (this.#position - this.#kept[0].position > KEPT_SECONDS * this.#rate) this.#kept.shift();
    if (this.#isWelcome) this.#sendFrame(frame);
  }

  sendText(text) {
    return this.#isWelcome && this.#say({ type: "text", text });
  }

  reportPlayed(samples) {
    this.#heard = samples;
    if (this.#isWelcome) this.#say({ type: "played", samples });
  }

  hangUp() {
    if (this.#isOver) return;
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#say({ type: "bye" });
      this.#socket.close(1000);
    }
    this.#end("hangup");
  }

  #hello() {
    const hello = { type: "hello", version: VERSION, rate: this.#rate, played_reports: this.#hasSound, captions: true };
    return this.#wasWelcome ? { ...hello, resume: { played: this.#heard } } : hello;
  }

  #say(message) {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #sendFrame({ position, pcm }) {
    const message = new ArrayBuffer(HEADER_SIZE + 2 * pcm.length);
    const view = new DataView(message);
    view.setUint8(0, AUDIO);
    view.setUint8(1, VERSION);
    view.setUint32(4, this.#sequence, true);
    view.setBigUint64(8, BigInt(position), true);
    for (let i = 0; i < pcm.length; i += 1) view.setInt16(HEADER_SIZE + 2 * i, pcm[i], true);
    this.#sequence += 1;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message);
  }

  #hear(data) {
    const view = new DataView(data);
    if (!this.#isWelcome || data.byteLength < HEADER_SIZE || view.getUint8(0) !== AUDIO) return;
    const pcm = new Int16Array((data.byteLength - HEADER_SIZE) >> 1);
    for (let i = 0; i < pcm.length; i += 1) pcm[i] = view.getInt16(HEADER_SIZE + 2 * i, true);
    this.#told.onAudio(Number(view.getBigUint64(8, true)), pcm);
  }

  #read(message, patience) {
    if (message.type === "welcome") {
      clearTimeout(patience);
      this.#greet(message);
    } else if (message.type === "ended") this.#end(message.reason);
    else if (message.type !== "pong") this.#told.onMessage(message);
  }

  #greet({ resume, received, session }) {
    if (received === 0) this.#beginAnew();
    this.#token = resume;
    this.#sequence = this.#tries = this.#lostAt = 0;
    this.#lostPosition = Infinity;
    this.#isWelcome = this.#wasWelcome = true;
    for (const frame of this.#kept) {
      const known = received - frame.position;
      if (known < frame.pcm.length) this.#sendFrame(known > 0 ? cut(frame, known) : frame);
    }
    this.#pulse = setInterval(() => this.#ping(), PING_SECONDS * 1000);
    this.#told.onWelcome(session);
  }

  // The call begins, or another process of the server has taken it over and counts from 0: so do we. What was said
  // before a call is nobody's business, what was said since it was lost is.
  #beginAnew() {
    const unsent = this.#kept.filter(({ position }) => position >= this.#lostPosition);
    this.#kept = [];
    this.#position = this.#heard = 0;
    for (const { pcm } of unsent) this.sendAudio(pcm);
  }

  #ping() {
    const now = performance.now();
    if (!this.#pingAt) {
      this.#pingAt = now;
      this.#say({ type: "ping" });
    } else if (now - this.#pingAt > SILENT_SECONDS * 1000) this.#abandon(this.#socket);
  }

  // Waits for no close of a line that may be dead.
  #abandon(socket) {
    socket.onmessage = socket.onclose = null;
    socket.close();
    this.#lose();
  }

  #lose() {
    clearInterval(this.#pulse);
    if (this.#isOver) return;
    const now = performance.now();
    this.#isWelcome = false;
    this.#pingAt = 0;
    this.#lostAt ||= now;
    this.#lostPosition = Math.min(this.#lostPosition, this.#position);
    const pause = PAUSES[Math.min(this.#tries, PAUSES.length - 1)] * 1000;
    this.#tries += 1;
    if (!this.#wasWelcome && this.#tries >= FIRST_TRIES) this.#end("unreachable");
    else if (now + pause - this.#lostAt > RETURN_SECONDS * 1000) this.#end("lost");
    else {
      this.#told.onLost();
      this.#retry = setTimeout(() => this.open(), pause);
    }
  }

  #end(reason) {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#retry);
    clearInterval(this.#pulse);
    this.#told.onOver(reason);
  }
}

function cut({ position, pcm }, samples) {
  return { position: position + samples, pcm: pcm.subarray(samples) };
}
