// All or nothing: cancellation reasons, tokens, reading several items at once.
import assert from "node:assert/strict";
import { fails } from "./scenarios.mjs";

const TableName = "rooms";

export async function transactions(sdk) {
  const room = `${sdk.name} transactions`;
  const get = async (seq) => (await sdk.doc("Get", { TableName, Key: { room, seq }, ConsistentRead: true })).Item;
  await sdk.doc("TransactWrite", {
    TransactItems: [
      { Put: { TableName, Item: { room, seq: 1, n: 0 }, ConditionExpression: "attribute_not_exists(room)" } },
      { Put: { TableName, Item: { room, seq: 2, n: 0 } } },
      { Put: { TableName, Item: { room, seq: 3, n: 0 } } },
    ],
  });

  const add = (by) => ({
    ClientRequestToken: `${sdk.name}-token`,
    TransactItems: [
      { Update: { TableName, Key: { room, seq: 1 }, UpdateExpression: "ADD n :by", ExpressionAttributeValues: { ":by": by } } },
      { Delete: { TableName, Key: { room, seq: 3 } } },
      { ConditionCheck: { TableName, Key: { room, seq: 2 }, ConditionExpression: "n = :z", ExpressionAttributeValues: { ":z": 0 } } },
    ],
  });
  await sdk.doc("TransactWrite", add(5));
  await sdk.doc("TransactWrite", add(5)); // the same again, as a retry does
  assert.equal((await get(1)).n, 5, "a repeated token wrote twice");
  assert.equal(await get(3), undefined);
  await fails(sdk, "doc", "TransactWrite", add(6), "IdempotentParameterMismatchException");

  const cancelled = await fails(sdk, "doc", "TransactWrite", {
    TransactItems: [
      { Put: { TableName, Item: { room, seq: 9 } } },
      {
        Update: {
          TableName,
          Key: { room, seq: 1 },
          UpdateExpression: "ADD n :one",
          ConditionExpression: "n > :limit",
          ExpressionAttributeValues: { ":one": 1, ":limit": 100 },
          ReturnValuesOnConditionCheckFailure: "ALL_OLD",
        },
      },
      { Delete: { TableName, Key: { room, seq: 2 }, ConditionExpression: "attribute_not_exists(room)" } },
    ],
  }, "TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed, ConditionalCheckFailed]");
  assert.deepEqual(cancelled.reasons.map((r) => r.Code), ["None", "ConditionalCheckFailed", "ConditionalCheckFailed"]);
  assert.equal(cancelled.reasons[1].Message, "The conditional request failed");
  assert.deepEqual(cancelled.reasons[1].Item, { room, seq: 1, n: 5 });
  assert.equal(cancelled.reasons[2].Item, undefined);
  assert.equal(await get(9), undefined, "a cancelled transaction left a write");
  const invalid = await fails(sdk, "doc", "TransactWrite", {
    TransactItems: [{ Update: { TableName, Key: { room, seq: 2 }, UpdateExpression: "SET n = nothing + :one", ExpressionAttributeValues: { ":one": 1 } } }],
  }, "TransactionCanceledException");
  assert.deepEqual(invalid.reasons.map((r) => r.Code), ["ValidationError"]);
  await fails(sdk, "doc", "TransactWrite", {
    TransactItems: [{ Put: { TableName, Item: { room, seq: 8 } } }, { Delete: { TableName, Key: { room, seq: 8 } } }],
  }, "ValidationException", "Transaction request cannot include multiple operations on one item");

  const { Responses } = await sdk.doc("TransactGet", {
    TransactItems: [
      { Get: { TableName, Key: { room, seq: 2 } } },
      { Get: { TableName, Key: { room, seq: 77 } } },
      { Get: { TableName, Key: { room, seq: 1 }, ProjectionExpression: "#n", ExpressionAttributeNames: { "#n": "n" } } },
    ],
  });
  assert.deepEqual(Responses.map((r) => r.Item), [{ room, seq: 2, n: 0 }, undefined, { n: 5 }]);

  // Two that want the same item: one waits or is cancelled, none is lost.
  const bump = { TransactItems: [{ Update: { TableName, Key: { room, seq: 2 }, UpdateExpression: "ADD n :one", ExpressionAttributeValues: { ":one": 1 } } }] };
  const done = await Promise.allSettled(Array.from({ length: 10 }, () => sdk.doc("TransactWrite", bump)));
  assert.equal((await get(2)).n, done.filter((d) => d.status === "fulfilled").length);
}
