// The agent's voice: plays what arrives in its order, after a small reserve against an uneven network, and tells where
// the ear is. Positions count the samples that the server has sent, at the call's rate.

import { Resampler } from "./resampler.js";

const RESERVE_SECONDS = 0.08;
const REPORTS_A_SECOND = 10;
const BLOCK = 64; // samples of the call's rate that are resampled at once

class Playback extends AudioWorkletProcessor {
  #rate;
  #resampler;
  #latency = 0; // samples between here and the ear
  #queue = []; // {position, samples} not yet played
  #ready = []; // resampled pieces that wait for the context
  #offset = 0; // of the first of them
  #isRunning = false;
  #waited = 0; // samples for which the reserve has been filling
  #runStart = 0; // position at which the current run began
  #played = 0; // position after the last sample that left
  #quiet = 0; // samples of silence since then
  #told = 0;
  #sinceReport = 0;
  #energy = 0;
  #isOver = false;

  constructor(options) {
    super();
    const { rate } = options.processorOptions;
    this.#rate = rate;
    this.#resampler = new Resampler(rate, sampleRate);
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  #take({ pcm, position, clear, latency, isOver }) {
    if (latency !== undefined) this.#latency = Math.round(latency * this.#rate);
    if (pcm) this.#queue.push({ position, samples: Float32Array.from(pcm, (value) => value / 32768) });
    if (clear !== undefined) this.#queue = this.#queue.filter((piece) => piece.position >= clear);
    if (clear !== undefined && !this.#queue.length) this.#isRunning = false;
    if (isOver) this.#isOver = true;
  }

  process(_, [[...channels]]) {
    const [first, ...others] = channels;
    let filled = 0;
    while (filled < first.length) {
      if (!this.#ready.length) this.#ready.push(this.#resampler.push(this.#next()));
      const piece = this.#ready[0].subarray(this.#offset, this.#offset + first.length - filled);
      first.set(piece, filled);
      filled += piece.length;
      this.#offset += piece.length;
      if (this.#offset === this.#ready[0].length) {
        this.#ready.shift();
        this.#offset = 0;
      }
    }
    for (const sample of first) this.#energy += sample * sample;
    for (const channel of others) channel.set(first);
    this.#report(first.length);
    return !this.#isOver;
  }

  // The next samples of the call's rate, filled up with silence.
  #next() {
    const block = new Float32Array(BLOCK);
    if (!this.#isRunning && !this.#mayBegin()) {
      this.#quiet += BLOCK;
      return block;
    }
    let filled = 0;
    while (filled < BLOCK && this.#queue.length) {
      const piece = this.#queue[0];
      const part = piece.samples.subarray(0, BLOCK - filled);
      block.set(part, filled);
      filled += part.length;
      this.#played = piece.position + part.length;
      if (part.length === piece.samples.length) this.#queue.shift();
      else this.#queue[0] = { position: this.#played, samples: piece.samples.subarray(part.length) };
    }
    this.#isRunning = filled === BLOCK;
    this.#quiet = BLOCK - filled;
    return block;
  }

  // When the reserve is there, or has had the time to be: something short may be all there is.
  #mayBegin() {
    if (!this.#queue.length) {
      this.#waited = 0;
      return false;
    }
    this.#waited += BLOCK;
    const waiting = this.#queue.reduce((sum, piece) => sum + piece.samples.length, 0);
    if (Math.max(waiting, this.#waited) < RESERVE_SECONDS * this.#rate) return false;
    this.#isRunning = true;
    this.#waited = 0;
    this.#runStart = this.#queue[0].position;
    return true;
  }

  #report(length) {
    this.#sinceReport += length;
    if (this.#sinceReport < sampleRate / REPORTS_A_SECOND) return;
    const underway = Math.max(0, this.#latency - this.#quiet);
    const heard = Math.max(this.#runStart, this.#played - underway);
    this.port.postMessage({
      level: Math.sqrt(this.#energy / this.#sinceReport),
      ...(heard === this.#told ? {} : { heard }),
    });
    this.#told = heard;
    this.#sinceReport = this.#energy = 0;
  }
}

registerProcessor("playback", Playback);
