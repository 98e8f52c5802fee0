// An OpenID provider as a process: panva's oidc-provider, with people who log in under any name and password.
//
// usage: node provider.mjs '{"port": 0, "resource": "https://push.example.net", "generation": 1}'
// Prints one line {"issuer": "http://127.0.0.1:<port>"} when it listens. Its keys are new at every start, so a restart
// on the same port is a change of keys.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";

import Provider from "oidc-provider";

const settings = JSON.parse(process.argv[2]);

function key(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg };
}

const server = createServer();
server.listen(settings.port, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "push-cli",
        application_type: "native",
        token_endpoint_auth_method: "none",
        redirect_uris: ["http://127.0.0.1/callback"],
        grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        response_types: ["code"],
        id_token_signed_response_alg: settings.alg ?? "RS256",
      },
      {
        client_id: "push-page",
        application_type: "native", // a page on this machine, whatever its port
        token_endpoint_auth_method: "none",
        redirect_uris: ["http://127.0.0.1/inbox/"],
        response_types: ["code"],
        id_token_signed_response_alg: settings.alg ?? "RS256",
      },
    ],
    jwks: {
      keys: [key("rsa", { modulusLength: 2048 }, "RS256"), key("ec", { namedCurve: "P-256" }, "ES256")],
    },
    scopes: ["openid", "push"],
    pkce: { required: () => true },
    clientBasedCORS: () => true,
    extraTokenClaims: () => ({ generation: settings.generation ?? 1 }),
    features: {
      deviceFlow: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          audience: resource,
          scope: "push",
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.net` }) }),
  });
  server.on("request", provider.callback());
  console.log(JSON.stringify({ issuer }));
});
