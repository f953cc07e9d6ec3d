// A real OpenID Connect provider on loopback. Whoever types a name is that person, at once and without a password:
//   node provider.mjs '{"redirect_uris": ["http://…/login/callback"], "people": {"alice": {…claims}}}'
// prints its issuer's address, and serves until its standard input ends.
import http from "node:http";
import { Provider } from "oidc-provider";

const given = JSON.parse(process.argv[2]);
const server = http.createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
    clients: [
        {
            client_id: "moongate",
            client_secret: "a secret of at least thirty-two bytes",
            redirect_uris: given.redirect_uris,
            response_types: ["code"],
            grant_types: ["authorization_code"],
        },
    ],
    claims: {
        openid: ["sub"],
        email: ["email", "email_verified"],
        profile: ["preferred_username"],
        groups: ["groups"],
    },
    pkce: { required: () => true },
    cookies: { keys: ["only for tests"] },
    features: { devInteractions: { enabled: true } },
    findAccount: async (ctx, id) => ({
        accountId: id,
        claims: async () => ({ sub: id, ...given.people[id] }),
    }),
});
server.on("request", provider.callback());
console.log(issuer);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
