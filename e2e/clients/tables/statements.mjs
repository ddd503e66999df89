// PartiQL: one statement, a batch of them, a transaction. v3 has it for documents, v2
// in its low-level client only.
import assert from "node:assert/strict";
import { fails } from "./scenarios.mjs";

export async function statements(sdk) {
  const room = `${sdk.name} statements`;
  const R = { S: room };
  const run = (Statement, ...Parameters) => sdk.low("ExecuteStatement", { Statement, ...(Parameters.length && { Parameters }) });
  for (let seq = 0; seq < 5; seq++) {
    await run(`INSERT INTO rooms VALUE {'room': ?, 'seq': ?, 'kind': 'stated', 'tags': ['a', {'b': 1}]}`, R, { N: String(seq) });
  }
  await fails(sdk, "low", "ExecuteStatement", { Statement: `INSERT INTO rooms VALUE {'room': ?, 'seq': 1}`, Parameters: [R] }, "DuplicateItemException");

  const found = [];
  let NextToken;
  do {
    const page = await sdk.low("ExecuteStatement", { Statement: `SELECT "seq", tags[1].b FROM rooms WHERE room = ? AND "seq" >= 1 ORDER BY "seq" DESC`, Parameters: [R], Limit: 2, NextToken });
    found.push(...page.Items.map((item) => item.seq.N));
    NextToken = page.NextToken;
  } while (NextToken);
  assert.deepEqual(found, ["4", "3", "2", "1"]);

  const { Items: old } = await run(`UPDATE rooms SET kind = ? SET n = 1 WHERE room = ? AND "seq" = 2 RETURNING ALL OLD *`, { S: "updated" }, R);
  assert.equal(old[0].kind.S, "stated");
  await run(`DELETE FROM rooms WHERE room = ? AND "seq" = 3`, R);
  const noSuch = { Statement: `UPDATE rooms SET kind = 'x' WHERE room = ? AND "seq" = 99`, Parameters: [R] };
  await fails(sdk, "low", "ExecuteStatement", noSuch, "ConditionalCheckFailedException", "The conditional request failed");
  await fails(sdk, "low", "ExecuteStatement", { Statement: "SELEKT nonsense" }, "ValidationException");

  const select = (seq) => ({ Statement: `SELECT * FROM rooms WHERE room = ? AND "seq" = ?`, Parameters: [R, { N: String(seq) }] });
  const { Responses } = await sdk.low("BatchExecuteStatement", { Statements: [select(2), select(3), { Statement: "SELECT * FROM nowhere WHERE id = 'x'" }] });
  assert.equal(Responses[0].Item.kind.S, "updated");
  assert.deepEqual([Responses[1].Item, Responses[1].Error], [undefined, undefined]);
  assert.equal(Responses[2].Error.Code, "ResourceNotFound");

  const insert = (seq) => ({ Statement: `INSERT INTO rooms VALUE {'room': ?, 'seq': ?}`, Parameters: [R, { N: String(seq) }] });
  const cancelled = await fails(sdk, "low", "ExecuteTransaction", { TransactStatements: [insert(50), insert(1)] }, "TransactionCanceledException");
  assert.deepEqual(cancelled.reasons.map((r) => r.Code), ["None", "DuplicateItem"]);
  const ClientRequestToken = `${sdk.name}-statements`;
  for (let again = 0; again < 2; again++) {
    await sdk.low("ExecuteTransaction", { ClientRequestToken, TransactStatements: [insert(50), insert(51)] });
  }
  const both = await sdk.low("ExecuteTransaction", { TransactStatements: [select(50), select(51)] });
  assert.deepEqual(both.Responses.map((r) => r.Item.seq.N), ["50", "51"]);

  if (sdk.documentPartiQL) {
    const { Items } = await sdk.doc("ExecuteStatement", { Statement: `SELECT * FROM rooms WHERE room = ? AND "seq" = ?`, Parameters: [room, 4] });
    assert.deepEqual(Items, [{ room, seq: 4, kind: "stated", tags: ["a", { b: 1 }] }]);
    const batch = await sdk.doc("BatchExecuteStatement", { Statements: [{ Statement: `SELECT "seq" FROM rooms WHERE room = ? AND "seq" = 0`, Parameters: [room] }] });
    assert.deepEqual(batch.Responses[0].Item, { seq: 0 });
    await sdk.doc("ExecuteTransaction", { TransactStatements: [{ Statement: `DELETE FROM rooms WHERE room = ? AND "seq" = ?`, Parameters: [room, 51] }] });
    assert.deepEqual((await sdk.doc("ExecuteStatement", { Statement: select(51).Statement, Parameters: [room, 51] })).Items, []);
  }
}
