// What happened, in plain words.

const TYPE = "You can go on by typing";

export function microphoneTrouble(error) {
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return `This page may not use the microphone. ${TYPE}; to speak, allow the microphone beside the address and call again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `There is no microphone. ${TYPE}; to speak, plug one in and call again.`;
    case "NotReadableError":
    case "AbortError":
      return `The microphone does not work: another program may be using it. ${TYPE}; to speak, free it and call again.`;
    default:
      return `The microphone cannot be used here. ${TYPE}.`;
  }
}

export const MICROPHONE_GONE = `The microphone is gone. ${TYPE}; to speak again, plug it in and call again.`;

export function insecure(address) {
  return (
    "Browsers give the microphone and the sound only to pages that came safely: " +
    `open ${address} on this machine, or put the site behind https. Until then you can type, and read the answers.`
  );
}

export const NO_WORKLETS = "This browser cannot play the agent's voice: it is too old. You can type, and read the answers.";

export function ending(reason) {
  switch (reason) {
    case "hangup":
      return "You have hung up.";
    case "ended":
      return "The call was ended.";
    case "time_limit":
      return "The call has reached its longest time.";
    case "shutdown":
      return "The server is being stopped. Call again in a moment.";
    case "lost":
    case "transport_lost":
      return "The connection was lost, and could not be made again within 20 seconds. Call again.";
    case "unreachable":
      return "The server of the calls cannot be reached. Is everything running? Call again in a moment.";
    case "failed":
      return "Something went wrong, and the call is over. Call again.";
    default:
      return "The call is over.";
  }
}

export const RECONNECTING = "The connection is lost. Reconnecting …";
export const NO_ANSWER = "The site does not answer. Is it still running?";

// Of an answer that was not meant for us.
export function refusal(status) {
  if (status === 401 || status === 403) return "This page is too old to begin a call. Reload this page.";
  if (status === 404) return "This agent can no longer be called. Reload this page.";
  if (status === 502 || status === 504) return "The site is not there at the moment. Try again soon.";
  return `Something went wrong at the site (error ${status}). Try again; if it stays so, tell who runs it.`;
}

export const STATES = { listening: "Listening", thinking: "Thinking", speaking: "Speaking" };
