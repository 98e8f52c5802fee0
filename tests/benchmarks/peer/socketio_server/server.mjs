// What socket.io leaves to an application: a route to publish, and who hears what.
import { createServer } from "node:http";
import { createClient } from "redis";
import { Server } from "socket.io";
import { createAdapter } from "@socket.io/redis-streams-adapter";

const redis = createClient({ url: process.env.REDIS });
redis.on("error", () => {}); // it connects again by itself
await redis.connect();

const http = createServer((request, answer) => {
  if (request.method !== "POST" || !request.url.startsWith("/publish/")) {
    answer.writeHead(404).end();
    return;
  }
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    io.to(request.url.slice("/publish/".length)).emit("message", body);
    answer.writeHead(201).end();
  });
});
http.keepAliveTimeout = 600_000;

const io = new Server(http, {
  adapter: createAdapter(redis),
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
  transports: ["websocket"],
  perMessageDeflate: false,
});
io.on("connection", (socket) => {
  if (!socket.recovered) socket.join(socket.handshake.query.device);
});
http.listen(Number(process.env.PORT), "127.0.0.1", 4096);
