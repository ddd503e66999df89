// One item at a time: types, expressions, what comes back, what is refused.
import assert from "node:assert/strict";
import { fails } from "./scenarios.mjs";

const TableName = "rooms";

export async function items(sdk) {
  await types(sdk);
  await updates(sdk);
  await conditions(sdk);
  await refusals(sdk);
}

const bytes = (value) => [...Buffer.from(value)];

async function types(sdk) {
  const Key = { room: `${sdk.name} types`, seq: -0.5 };
  const Item = {
    ...Key,
    text: "ünïcødé 💬",
    empty: "",
    nothing: null,
    yes: true,
    no: false,
    list: [1, "two", [], {}, [[null]]],
    map: { "": "an empty name", deep: { er: [{ a: 1e-7 }] } },
    binary: Buffer.from([0, 1, 254, 255]),
    noBytes: Buffer.alloc(0),
    strings: sdk.set(["b", "a", "ü"]),
    numbers: sdk.set([3, 1.5, -2]),
    binaries: sdk.set([Buffer.from("x"), Buffer.from([255])]),
  };
  await sdk.doc("Put", { TableName, Item });
  const { Item: got } = await sdk.doc("Get", { TableName, Key, ConsistentRead: true });
  assert.deepEqual(Object.keys(got).sort(), Object.keys(Item).sort());
  for (const name of ["room", "seq", "text", "empty", "nothing", "yes", "no", "list", "map"]) {
    assert.deepEqual(got[name], Item[name], name);
  }
  assert.deepEqual(bytes(got.binary), [0, 1, 254, 255]);
  assert.deepEqual(bytes(got.noBytes), []);
  assert.deepEqual(sdk.values(got.strings).sort(), ["a", "b", "ü"]);
  assert.deepEqual(sdk.values(got.numbers).sort((a, b) => a - b), [-2, 1.5, 3]);
  assert.deepEqual(sdk.values(got.binaries).map(bytes).sort(), [[120], [255]]);

  // More digits than a JavaScript number has, 38 of them.
  for (const text of ["12345678901234567890123456789012345678", "-0.00000000000000000000000000000000000000000012345678901234567890123456789012345678", "9007199254740993"]) {
    const n = await sdk.bigNumber(text);
    await sdk.exact("Put", { TableName, Item: { ...Key, n } });
    const stored = await sdk.low("GetItem", { TableName, Key: { room: { S: Key.room }, seq: { N: "-0.5" } } });
    assert.equal(stored.Item.n.N, text);
    const { Item: back } = await sdk.exact("Get", { TableName, Key });
    assert.equal(String(back.n.value ?? back.n), text);
  }
  const tooMany = { room: { S: Key.room }, seq: { N: "1" }, n: { N: "1".repeat(39) } };
  await fails(sdk, "low", "PutItem", { TableName, Item: tooMany }, "ValidationException", "Attempting to store more than 38 significant digits in a Number");
  const { Item: none } = await sdk.doc("Get", { TableName, Key: { ...Key, seq: 99 } });
  assert.equal(none, undefined);
}

async function updates(sdk) {
  const Key = { room: `${sdk.name} updates`, seq: 1 };
  const update = async (UpdateExpression, values, names, ReturnValues = "ALL_NEW") => {
    const out = await sdk.doc("Update", {
      TableName,
      Key,
      UpdateExpression,
      ReturnValues,
      ExpressionAttributeNames: names,
      ExpressionAttributeValues: values,
    });
    return out.Attributes;
  };
  assert.equal(await update("SET a = :one", { ":one": 1 }, undefined, "NONE"), undefined);
  assert.deepEqual(await update("SET #n = if_not_exists(#n, :z) + :one, tags = :l, m = :m", { ":z": 10, ":one": 1, ":l": ["x"], ":m": { k: { j: 1 } } }, { "#n": "count" }), {
    ...Key, a: 1, count: 11, tags: ["x"], m: { k: { j: 1 } },
  });
  assert.deepEqual(await update("SET tags = list_append(:head, tags), m.#k.j = m.#k.j - :one REMOVE a", { ":head": ["w"], ":one": 1 }, { "#k": "k" }, "UPDATED_NEW"), {
    tags: ["w", "x"], m: { k: { j: 0 } },
  });
  await update("SET tags[5] = :end", { ":end": "z" }); // past the end: appended
  let got = await update("ADD hits :one, colours :set", { ":one": 1, ":set": sdk.set(["red", "blue"]) }, undefined, "UPDATED_NEW");
  assert.equal(got.hits, 1);
  got = await update("DELETE colours :red ADD hits :one", { ":red": sdk.set(["red"]), ":one": 2.25 });
  assert.deepEqual([sdk.values(got.colours), got.hits], [["blue"], 3.25]);
  got = await update("DELETE colours :blue", { ":blue": sdk.set(["blue"]) });
  assert.ok(!("colours" in got), "an empty set stays");
  assert.deepEqual(await update("REMOVE tags[0], m.k", undefined, undefined, "ALL_OLD"), { ...Key, count: 11, hits: 3.25, tags: ["w", "x", "z"], m: { k: { j: 0 } } });
  assert.deepEqual(await update("SET hits = :h", { ":h": 0 }, undefined, "UPDATED_OLD"), { hits: 3.25 });

  const { Item } = await sdk.doc("Get", { TableName, Key, ProjectionExpression: "tags[1], #m, hits", ExpressionAttributeNames: { "#m": "m" } });
  assert.deepEqual(Item, { tags: ["z"], m: {}, hits: 0 });
  const { Attributes: before } = await sdk.doc("Put", { TableName, Item: { ...Key, fresh: true }, ReturnValues: "ALL_OLD" });
  assert.equal(before.count, 11);
  const { Attributes: last, ConsumedCapacity } = await sdk.doc("Delete", { TableName, Key, ReturnValues: "ALL_OLD", ReturnConsumedCapacity: "TOTAL" });
  assert.deepEqual(last, { ...Key, fresh: true });
  assert.deepEqual(ConsumedCapacity, { TableName, CapacityUnits: 1 });
}

async function conditions(sdk) {
  const Key = { room: `${sdk.name} conditions`, seq: 1 };
  await sdk.doc("Put", { TableName, Item: { ...Key, name: "anna", n: 5, tags: ["a", "b"], set: sdk.set(["x", "y"]), m: { k: 1 } } });
  const values = { ":a": "an", ":n": 5, ":lo": 1, ":hi": 9, ":x": "x", ":two": 2, ":type": "SS", ":one": 1 };
  const cases = [
    ["attribute_exists(m.k) AND attribute_not_exists(m.z)", true],
    ["attribute_type(#set, :type)", true],
    ["begins_with(#name, :a) AND NOT contains(#name, :x)", true],
    ["contains(#set, :x) AND size(tags) = :two", true],
    ["n BETWEEN :lo AND :hi AND n IN (:one, :n)", true],
    ["(n < :lo OR n > :hi) OR n <> :n", false],
    ["n >= :n AND n <= :n AND tags[0] = #name", false],
    ["size(#set) > :two", false],
  ];
  for (const [ConditionExpression, holds] of cases) {
    const params = {
      TableName,
      Key,
      UpdateExpression: "SET seen = :n",
      ConditionExpression,
      ExpressionAttributeNames: { ...(ConditionExpression.includes("#name") && { "#name": "name" }), ...(ConditionExpression.includes("#set") && { "#set": "set" }) },
      ExpressionAttributeValues: Object.fromEntries(Object.entries(values).filter(([name]) => name === ":n" || new RegExp(`${name}\\b`).test(ConditionExpression))),
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    };
    if (!Object.keys(params.ExpressionAttributeNames).length) {
      delete params.ExpressionAttributeNames;
    }
    if (holds) {
      await sdk.doc("Update", params);
      continue;
    }
    const failure = await fails(sdk, "doc", "Update", params, "ConditionalCheckFailedException", "The conditional request failed");
    assert.ok(failure.item?.room, `${ConditionExpression}: the failure carries no item`);
  }
  const quiet = await fails(sdk, "doc", "Delete", { TableName, Key, ConditionExpression: "attribute_not_exists(room)" }, "ConditionalCheckFailedException");
  assert.equal(quiet.item, undefined);
  await fails(sdk, "doc", "Put", { TableName, Item: Key, ConditionExpression: "attribute_not_exists(room)" }, "ConditionalCheckFailedException");
}

async function refusals(sdk) {
  const Key = { room: `${sdk.name} refusals`, seq: 1 };
  const refused = (op, params, message) => fails(sdk, "doc", op, { TableName, ...params }, "ValidationException", message);
  await refused("Put", { Item: { room: "x" } }, "One or more parameter values were invalid: Missing the key seq in the item");
  await refused("Put", { Item: { room: "", seq: 1 } }, "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: room");
  await refused("Put", { Item: { ...Key, who: 7 } }, "One or more parameter values were invalid: Type mismatch for Index Key who Expected: S Actual: N IndexName: byWho");
  await refused("Get", { Key: { room: "x" } }, "The provided key element does not match the schema");
  await refused("Update", { Key, UpdateExpression: "SET name = :v", ExpressionAttributeValues: { ":v": 1 } }, "Invalid UpdateExpression: Attribute name is a reserved keyword; reserved keyword: name");
  await refused("Update", { Key, UpdateExpression: "SET room = :v", ExpressionAttributeValues: { ":v": "y" } }, "One or more parameter values were invalid: Cannot update attribute room. This attribute is part of the key");
  await refused("Update", { Key, UpdateExpression: "SET a = :v", ExpressionAttributeValues: { ":v": 1, ":unused": 2 } }, "Value provided in ExpressionAttributeValues unused in expressions: keys: {:unused}");
  await refused("Update", { Key, UpdateExpression: "SET a = :v" }, "Invalid UpdateExpression: An expression attribute value used in expression is not defined; attribute value: :v");
  await refused("Query", { KeyConditionExpression: "seq = :a", ExpressionAttributeValues: { ":a": 1 } }, "Query condition missed key schema element: room");
  await refused("Put", { Item: { ...Key, big: "x".repeat(400 * 1024) } }, "Item size has exceeded the maximum allowed size");
  await fails(sdk, "doc", "Get", { TableName: `${sdk.name}-nowhere`, Key }, "ResourceNotFoundException", "Requested resource not found");
}
