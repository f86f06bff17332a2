// Turns samples of one rate into samples of another: a low-pass filter (a sinc under a Kaiser window), of which only the
// values are computed that are needed. Works on a stream, piece by piece.

const CROSSINGS = 24; // of the sinc, to each side: how sharply the filter cuts
const CUTOFF = 0.9; // of what the lower rate can carry; the filter's slope ends where that ends
const KAISER = 8; // what passes wrongly is 80 dB down

function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-12; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}

export class Resampler {
  #up; // `up` samples leave for `down` that come in
  #down;
  #taps; // of each phase
  #filters; // by phase
  #kept = new Float32Array(0); // input that later samples still need
  #phase = 0; // of the next sample, between two of the input

  constructor(from, to) {
    const common = divisor(from, to);
    this.#up = to / common;
    this.#down = from / common;
    if (from !== to) this.#design(Math.min(1, to / from));
  }

  #design(ratio) {
    const half = Math.ceil(CROSSINGS / ratio);
    this.#taps = 2 * half;
    this.#filters = Array.from({ length: this.#up }, (_, phase) => {
      const filter = new Float32Array(this.#taps);
      let sum = 0;
      for (let tap = 0; tap < this.#taps; tap += 1) {
        const t = tap - half + 1 - phase / this.#up; // from the middle, in samples of the input
        const x = Math.PI * CUTOFF * ratio * t;
        const window = bessel(KAISER * Math.sqrt(Math.max(0, 1 - (t / half) ** 2))) / bessel(KAISER);
        filter[tap] = (x ? Math.sin(x) / x : 1) * window;
        sum += filter[tap];
      }
      return filter.map((value) => value / sum);
    });
    this.#kept = new Float32Array(half); // so that the first sample comes out at once
  }

  push(samples) {
    if (this.#up === this.#down) return samples;
    const input = new Float32Array(this.#kept.length + samples.length);
    input.set(this.#kept);
    input.set(samples, this.#kept.length);
    const output = [];
    let start = 0;
    while (start + this.#taps <= input.length) {
      output.push(this.#value(input, start));
      this.#phase += this.#down;
      start += Math.floor(this.#phase / this.#up);
      this.#phase %= this.#up;
    }
    // A ratio above the filter's length would leave `start` behind the end; no audio hardware comes near.
    this.#kept = input.slice(start);
    return Float32Array.from(output);
  }

  #value(input, start) {
    const filter = this.#filters[this.#phase];
    let sum = 0;
    for (let tap = 0; tap < filter.length; tap += 1) sum += filter[tap] * input[start + tap];
    return sum;
  }
}
