// oidc-provider (panva) as the authorization server of the tests: `node oidc_provider.mjs SECONDS PATH METHODS`.
// It prints its issuer. Access tokens expire after SECONDS. The issuer has the path PATH; clients authenticate by one of METHODS.
// Clients register themselves. One client has a secret and any port of this machine; another one may introspect.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [seconds, path, methods] = process.argv.slice(2);
const server = createServer().listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}${path}`;
  const provider = new Provider(issuer, {
    clients: [
      { client_id: "resource", client_secret: "resource-secret", grant_types: [], response_types: [], redirect_uris: [] },
      {
        client_id: "registered",
        client_secret: "registered-secret",
        grant_types: ["authorization_code", "refresh_token"],
        application_type: "native",
        redirect_uris: ["http://127.0.0.1/auth/callback"],
      },
    ],
    clientAuthMethods: methods.split(","),
    scopes: ["openid", "offline_access", "user"],
    features: {
      devInteractions: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      registration: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({ scope: "user", audience: resource, accessTokenFormat: "opaque", accessTokenTTL: Number(seconds) }),
        useGrantedResource: () => true,
      },
    },
    ttl: { AccessToken: Number(seconds) },
    issueRefreshToken: async (_, client) => client.grantTypeAllowed("refresh_token"),
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  });
  provider.on("server_error", (_, error) => console.error(error));
  const serve = provider.callback();
  server.on("request", (request, response) => {
    if (!request.url.startsWith(path)) {
      response.writeHead(404).end();
      return;
    }
    request.originalUrl = request.url;
    request.url = request.url.slice(path.length) || "/";
    serve(request, response);
  });
  console.log(issuer);
});
process.stdin.on("end", () => process.exit()).resume();
