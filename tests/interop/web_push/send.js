// Sends one message with the npm package web-push, as its documentation says.
// Standard input: {subscription, payload, options}. Standard output: {statusCode, headers, body}.
"use strict";

const webpush = require("web-push");

let raw = "";
process.stdin.on("data", (chunk) => (raw += chunk));
process.stdin.on("end", async () => {
  const { subscription, payload, options } = JSON.parse(raw);
  const answer = await webpush
    .sendNotification(subscription, payload, options)
    .catch((error) => {
      if (!error.statusCode) throw error;
      return error;
    });
  const { statusCode, headers, body } = answer;
  process.stdout.write(JSON.stringify({ statusCode, headers, body }));
});
