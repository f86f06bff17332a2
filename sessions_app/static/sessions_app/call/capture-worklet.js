// The microphone: any number of channels at the context's rate become 16-bit mono at the call's rate, 20 ms at a time.
// Without a microphone, or muted, it is silence that leaves: the other side's clock is made of these samples.

import { Resampler } from "./resampler.js";

const FRAMES_A_SECOND = 50;

class Capture extends AudioWorkletProcessor {
  #resampler;
  #frame;
  #filled = 0;
  #isMuted = false;
  #isOver = false;

  constructor(options) {
    super();
    const { rate } = options.processorOptions;
    this.#resampler = new Resampler(sampleRate, rate);
    this.#frame = new Int16Array(rate / FRAMES_A_SECOND);
    this.port.onmessage = ({ data }) => {
      if (data.isMuted !== undefined) this.#isMuted = data.isMuted;
      if (data.isOver) this.#isOver = true;
    };
  }

  process([channels], [[silence]]) {
    for (const sample of this.#resampler.push(this.#mono(channels, silence.length))) {
      this.#frame[this.#filled] = Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
      this.#filled += 1;
      if (this.#filled === this.#frame.length) this.#send();
    }
    return !this.#isOver;
  }

  #mono(channels, length) {
    const mono = new Float32Array(length);
    if (this.#isMuted) return mono;
    for (const channel of channels) {
      for (let i = 0; i < length; i += 1) mono[i] += channel[i] / channels.length;
    }
    return mono;
  }

  #send() {
    let sum = 0;
    for (const sample of this.#frame) sum += (sample / 32768) ** 2;
    const pcm = this.#frame.slice();
    this.port.postMessage({ pcm, level: Math.sqrt(sum / pcm.length) }, [pcm.buffer]);
    this.#filled = 0;
  }
}

registerProcessor("capture", Capture);
