// What only this browser can tell: whether a call from here can be heard, and whether it reaches the transport.

const WITHIN = 3000;
const list = document.getElementById("browser");
const piece = document.getElementById("finding");

function tell(name, level, seen, fix = "") {
  const row = piece.content.cloneNode(true).firstElementChild;
  row.className = level;
  row.querySelector(".level").textContent = level;
  row.querySelector(".name").textContent = name;
  row.querySelector(".seen").textContent = seen;
  row.querySelector(".fix").textContent = fix;
  list.append(row);
}

function checkContext() {
  if (window.isSecureContext) return tell("Secure page", "ok", `${location.origin} may use a microphone`);
  tell("Secure page", "problem", `${location.origin} is not secure, so browsers give it no microphone`,
    "Open it by https://, or on the machine itself by http://localhost");
}

function checkWorklet() {
  if (window.isSecureContext && "AudioWorkletNode" in window) return tell("Audio", "ok", "AudioWorklet is there");
  tell("Audio", "problem", "AudioWorklet is missing", "Use a current browser and a secure page");
}

async function microphonePermission() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state;
  } catch {
    return "unknown"; // not every browser tells of the microphone
  }
}

async function checkMicrophone() {
  if (!navigator.mediaDevices) {
    return tell("Microphone", "problem", "Pages that are not secure get none", "Open this page by https:// or localhost");
  }
  const devices = await navigator.mediaDevices.enumerateDevices();
  const found = devices.filter((device) => device.kind === "audioinput").length;
  const permission = await microphonePermission();
  if (permission === "denied") {
    return tell("Microphone", "problem", "This browser denies it to this page", "Allow it by the icon beside the address, then reload");
  }
  if (!found) return tell("Microphone", "problem", "None was found", "Connect one, or type instead of speaking");
  const asks = permission === "granted" ? "allowed" : "the browser will ask at the first call";
  tell("Microphone", "ok", `${found === 1 ? "One" : found} found; ${asks}`);
}

// A refused WebSocket looks to a page like one that nobody answers. So plain requests go to the same place: across
// origins it only counts that somebody answers; at our own origin the transport says 426 where it wants a WebSocket.
async function checkTransport() {
  const transport = list.dataset.transport;
  const isOurs = transport === location.origin;
  const address = isOurs ? `${transport}/media/websocket/doctor/nothing` : `${transport}/health`;
  const fix = isOurs
    ? "Let the reverse proxy pass /media/ to the transport (docs/deployment.md)"
    : "Start the transport, or let this browser reach its port; behind a proxy set MESHAG_PUBLIC_URL";
  try {
    const answer = await fetch(address, { mode: isOurs ? "same-origin" : "no-cors", signal: AbortSignal.timeout(WITHIN) });
    if (!isOurs || answer.status === 426) return tell("Way to calls", "ok", `${transport} answers this browser`);
    tell("Way to calls", "problem", `${transport}/media/ answers ${answer.status}: not the transport`, fix);
  } catch {
    tell("Way to calls", "problem", `Nothing answers this browser at ${transport}`, fix);
  }
}

checkContext();
checkWorklet();
await checkMicrophone();
await checkTransport();
list.dataset.done = "";
