addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("push", (event) => event.waitUntil(show(event.data?.text() ?? "(no text)")));

async function show(text) {
  for (const page of await clients.matchAll()) page.postMessage(text);
  await registration.showNotification("Web Push", { body: text, tag: "web-push-example" });
}

addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(clients.openWindow("."));
});
