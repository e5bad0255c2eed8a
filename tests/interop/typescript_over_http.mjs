// The official TypeScript SDK over HTTP: makes one long call, and prints a line for its progress and for its result.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, name, duration] = process.argv.slice(2);
const client = new Client({ name: "typescript-sdk", version: "1.0.0" });
const transport = new StreamableHTTPClientTransport(new URL(url));
await client.connect(transport);
const call = {
  name: "call_dynamic_tool",
  arguments: { group: "everything", name, args: { duration: Number(duration), steps: 4 } },
};
const result = await client.callTool(call, undefined, { onprogress: ({ progress }) => console.log(`progress ${progress}`) });
console.log(`result ${JSON.stringify(result.content)}`);
await transport.terminateSession();
await client.close();
