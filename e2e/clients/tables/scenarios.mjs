// What an application does with its tables, once for every SDK: v2.mjs and v3.mjs hand
// over their own ways to send, to wait and to page. The table "rooms" is the template's.
import assert from "node:assert/strict";
import { control } from "./control.mjs";
import { items } from "./items.mjs";
import { many } from "./many.mjs";
import { statements } from "./statements.mjs";
import { streams } from "./streams.mjs";
import { transactions } from "./transactions.mjs";

const groups = { control, items, many, transactions, statements, streams };

/** Runs everything; the process fails with the name of the scenario that did. */
export async function scenarios(sdk) {
  for (const [group, run] of Object.entries(groups)) {
    const began = performance.now();
    try {
      await run(sdk);
    } catch (err) {
      err.message = `${sdk.name} ${group}: ${err.message}`;
      throw err;
    }
    console.log(`${sdk.name} ${group} ${Math.round(performance.now() - began)} ms`);
  }
  console.log("ok");
}

/** Asserts that a call fails like this, and returns the failure. */
export async function fails(sdk, service, op, params, name, message) {
  const failure = await sdk.failure(service, op, params);
  assert.equal(failure.name, name, `${op}: ${failure.message}`);
  assert.equal(failure.status, 400, op);
  if (message !== undefined) {
    assert.equal(failure.message, message, op);
  }
  return failure;
}

/** Calls probe until it returns something true. */
export async function until(what, probe) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const found = await probe();
    if (found) {
      return found;
    }
    assert.ok(Date.now() < deadline, `not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A table with a string key, created and there. */
export async function made(sdk, TableName, more = {}) {
  const out = await sdk.low("CreateTable", {
    TableName,
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    ...more,
  });
  await sdk.exists(TableName);
  return out.TableDescription;
}

export async function dropped(sdk, TableName) {
  await sdk.low("DeleteTable", { TableName });
  await sdk.gone(TableName);
}
