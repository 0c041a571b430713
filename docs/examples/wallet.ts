// Submit a task with the account of a browser's wallet, typed by the API's own document.
//
//   npx openapi-typescript openapi.json -o p2pool.d.ts
//
// The typed data is made here, from the types in docs/PROTOCOL.md: no agent chooses what is signed.
import type { components, paths } from "./p2pool";

type Body = components["schemas"]["SignedRequest"];
type Accepted = paths["/v1/requests"]["post"]["responses"]["200"]["content"]["application/json"];
type Problem = components["schemas"]["Problem"];
type Task = components["schemas"]["Task"];

/** What wallets give to a page (EIP-1193). */
export interface Wallet {
  request(asked: { method: string; params: unknown[] }): Promise<unknown>;
}

export interface Pool {
  chainId: number;
  contract: string;
  poolId: Body["request"]["pool_id"];
}

const DOMAIN = [
  { name: "name", type: "string" },
  { name: "version", type: "string" },
  { name: "chainId", type: "uint256" },
  { name: "verifyingContract", type: "address" },
];
const REQUEST = [
  { name: "action", type: "string" },
  { name: "poolId", type: "uint256" },
  { name: "target", type: "string" },
  { name: "specJson", type: "string" },
  { name: "requestId", type: "bytes32" },
  { name: "notBefore", type: "uint64" },
  { name: "notAfter", type: "uint64" },
];

/** The request, signed; `spec` is RFC 8785 JSON: keys sorted, no spaces. */
export async function signed(
  wallet: Wallet,
  account: string,
  pool: Pool,
  spec: string,
  delegation?: Body["delegation"],
): Promise<Body> {
  const random = crypto.getRandomValues(new Uint8Array(32));
  const id = Array.from(random, (one) => one.toString(16).padStart(2, "0")).join("");
  const now = Math.floor(Date.now() / 1000);
  const request: Body["request"] = {
    action: "submit",
    pool_id: pool.poolId,
    target: "",
    spec_json: spec,
    request_id: id,
    not_before_s: now,
    not_after_s: now + 600,
  };
  const typed = {
    types: { EIP712Domain: DOMAIN, TaskRequest: REQUEST },
    primaryType: "TaskRequest",
    domain: {
      name: "p2pool",
      version: "1",
      chainId: pool.chainId,
      verifyingContract: pool.contract,
    },
    message: {
      action: request.action,
      poolId: request.pool_id,
      target: request.target,
      specJson: request.spec_json,
      requestId: `0x${id}`,
      notBefore: request.not_before_s,
      notAfter: request.not_after_s,
    },
  };
  const signature = await wallet.request({
    method: "eth_signTypedData_v4",
    params: [account, JSON.stringify(typed)],
  });
  return { request, signature: String(signature), delegation };
}

/** Have it carried out by whichever agent takes it: the pool carries it out once. */
export async function send(agents: [url: string, token: string][], body: Body): Promise<Accepted> {
  let last = "no agent is named";
  for (const [url, token] of agents) {
    try {
      const answer = await fetch(`${url}/v1/requests`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      if (answer.ok) return (await answer.json()) as Accepted;
      const problem = (await answer.json()) as Problem;
      last = `${problem.code}: ${problem.detail} ${problem.hint}`;
      if (answer.status < 500) break;
    } catch (error) {
      last = String(error);
    }
  }
  throw new Error(last);
}

/** Whether a task has ended, and how. */
export function ending(task: Task): Task["state"] | undefined {
  const living: Task["state"][] = ["pending", "running", "stopping"];
  return living.includes(task.state) ? undefined : task.state;
}
