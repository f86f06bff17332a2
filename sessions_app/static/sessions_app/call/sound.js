// The microphone and the loudspeaker of a call, each an audio worklet of its own.

export const HAS_WORKLETS = window.isSecureContext && "AudioWorkletNode" in window;

const LATENCY_EVERY = 1000; // milliseconds
const WISHES = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: { ideal: 1 } };

// Raises what `getUserMedia` raises. The browser asks the visitor.
export function openMicrophone() {
  return navigator.mediaDevices.getUserMedia({ audio: WISHES });
}

export class Sound {
  #context;
  #capture;
  #playback;
  #stream;
  #clock = 0;

  // Must be made while a click is handled: browsers let nothing sound before.
  constructor() {
    this.#context = new AudioContext({ latencyHint: "interactive" });
  }

  // `onFrame({pcm, level})` gets 20 ms of the microphone, `onPlayed({heard, level})` ten times a second where the ear
  // is, and `onState` whether the browser lets us sound.
  async open(rate, { onFrame, onPlayed, onState }) {
    const context = this.#context;
    await Promise.all(
      ["capture", "playback"].map((name) => context.audioWorklet.addModule(new URL(`${name}-worklet.js`, import.meta.url))),
    );
    this.#capture = this.#node("capture", { rate });
    this.#playback = this.#node("playback", { rate });
    this.#capture.port.onmessage = ({ data }) => onFrame(data);
    this.#playback.port.onmessage = ({ data }) => onPlayed(data);
    context.onstatechange = () => onState(context.state === "running");
    this.#clock = setInterval(() => this.#tellLatency(), LATENCY_EVERY);
    this.#tellLatency();
    this.resume();
    onState(context.state === "running");
  }

  // A browser knows it only after a while of sound, and another loudspeaker has another one.
  #tellLatency() {
    this.#playback.port.postMessage({ latency: this.#context.outputLatency || this.#context.baseLatency || 0 });
  }

  #node(name, processorOptions) {
    const node = new AudioWorkletNode(this.#context, name, { processorOptions, outputChannelCount: [1] });
    node.connect(this.#context.destination);
    return node;
  }

  resume() {
    this.#context.resume().catch(() => {}); // it was closed meanwhile
  }

  listenTo(stream, onGone) {
    this.#stream = stream;
    this.#context.createMediaStreamSource(stream).connect(this.#capture);
    for (const track of stream.getAudioTracks()) track.addEventListener("ended", onGone);
  }

  mute(isMuted) {
    this.#capture.port.postMessage({ isMuted });
  }

  play(position, pcm) {
    this.#playback.port.postMessage({ position, pcm }, [pcm.buffer]);
  }

  // Drop what lies before this position and was not played yet.
  clear(position) {
    this.#playback?.port.postMessage({ clear: position });
  }

  close() {
    clearInterval(this.#clock);
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    for (const node of [this.#capture, this.#playback]) node?.port.postMessage({ isOver: true });
    this.#context.onstatechange = null; // that it closes now is no browser that keeps us quiet
    if (this.#context.state !== "closed") this.#context.close();
  }
}
