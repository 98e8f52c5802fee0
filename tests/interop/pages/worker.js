// Tells the page's server of everything that a push service can make happen to it, in order.
const tell = (what, text) => fetch("/told", { method: "POST", body: JSON.stringify([what, text]) });

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("push", (event) => event.waitUntil(tell("push", event.data ? event.data.text() : "(no data)")));
addEventListener("pushsubscriptionchange", (event) => event.waitUntil(tell("pushsubscriptionchange", "")));
