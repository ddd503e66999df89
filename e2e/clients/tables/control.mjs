// Tables themselves: create, describe, list, wait, time to live, tags, indexes on a
// live table.
import assert from "node:assert/strict";
import { dropped, fails, made, until } from "./scenarios.mjs";

export async function control(sdk) {
  await declared(sdk);
  await lifecycle(sdk);
  await settings(sdk);
  await liveIndex(sdk);
}

async function declared(sdk) {
  const { Table } = await sdk.low("DescribeTable", { TableName: "rooms" });
  assert.equal(Table.TableStatus, "ACTIVE");
  assert.deepEqual(Table.KeySchema, [
    { AttributeName: "room", KeyType: "HASH" },
    { AttributeName: "seq", KeyType: "RANGE" },
  ]);
  const [gsi] = Table.GlobalSecondaryIndexes;
  assert.deepEqual([gsi.IndexName, gsi.IndexStatus, gsi.Projection], ["byWho", "ACTIVE", { ProjectionType: "INCLUDE", NonKeyAttributes: ["kind"] }]);
  const [lsi] = Table.LocalSecondaryIndexes;
  assert.deepEqual([lsi.IndexName, lsi.Projection], ["byScore", { ProjectionType: "ALL" }]);
  assert.deepEqual(Table.StreamSpecification, { StreamEnabled: true, StreamViewType: "NEW_AND_OLD_IMAGES" });
  assert.match(Table.LatestStreamArn, new RegExp(`^${Table.TableArn}/stream/`));
  const ttl = await sdk.low("DescribeTimeToLive", { TableName: "rooms" });
  assert.deepEqual(ttl.TimeToLiveDescription, { TimeToLiveStatus: "ENABLED", AttributeName: "expires" });
}

async function lifecycle(sdk) {
  const names = ["a", "b", "c"].map((x) => `${sdk.name}-listed-${x}`);
  for (const TableName of names) {
    const description = await made(sdk, TableName);
    assert.ok(description.CreationDateTime instanceof Date);
    assert.ok(["CREATING", "ACTIVE"].includes(description.TableStatus), description.TableStatus);
  }
  await fails(sdk, "low", "CreateTable", {
    TableName: names[0],
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
  }, "ResourceInUseException");
  const pages = await sdk.pages("ListTables", { Limit: 1 });
  assert.ok(pages.length >= 4, `${pages.length} pages`);
  assert.ok(pages.every((page) => page.TableNames.length <= 1));
  const listed = pages.flatMap((page) => page.TableNames);
  assert.deepEqual(listed.filter((name) => names.includes(name)), names);
  assert.ok(listed.includes("rooms"));
  for (const name of names) {
    await dropped(sdk, name);
  }
  await fails(sdk, "low", "DescribeTable", { TableName: names[0] }, "ResourceNotFoundException", `Requested resource not found: Table: ${names[0]} not found`);
  await fails(sdk, "low", "DeleteTable", { TableName: names[0] }, "ResourceNotFoundException", `Requested resource not found: Table: ${names[0]} not found`);
}

async function settings(sdk) {
  const TableName = `${sdk.name}-settings`;
  const { TableArn: ResourceArn } = await made(sdk, TableName, { Tags: [{ Key: "stage", Value: "test" }] });
  const off = await sdk.low("DescribeTimeToLive", { TableName });
  assert.deepEqual(off.TimeToLiveDescription, { TimeToLiveStatus: "DISABLED" });
  const TimeToLiveSpecification = { AttributeName: "gone", Enabled: true };
  const set = await sdk.low("UpdateTimeToLive", { TableName, TimeToLiveSpecification });
  assert.deepEqual(set.TimeToLiveSpecification, TimeToLiveSpecification);
  const on = await until("TTL enabled", async () => {
    const { TimeToLiveDescription: d } = await sdk.low("DescribeTimeToLive", { TableName });
    return d.TimeToLiveStatus === "ENABLED" && d;
  });
  assert.equal(on.AttributeName, "gone");
  await fails(sdk, "low", "UpdateTimeToLive", { TableName, TimeToLiveSpecification }, "ValidationException", "TimeToLive is already enabled");

  await sdk.low("TagResource", { ResourceArn, Tags: [{ Key: "team", Value: "chat" }, { Key: "stage", Value: "prod" }] });
  await sdk.low("UntagResource", { ResourceArn, TagKeys: ["team"] });
  const { Tags } = await sdk.low("ListTagsOfResource", { ResourceArn });
  assert.deepEqual(Tags, [{ Key: "stage", Value: "prod" }]);
  await dropped(sdk, TableName);
}

// An index comes to a table that has items, follows writes and goes again.
async function liveIndex(sdk) {
  const TableName = `${sdk.name}-live`;
  const IndexName = "byColour";
  await made(sdk, TableName);
  for (let i = 0; i < 30; i++) {
    await sdk.doc("Put", { TableName, Item: { id: `i${i}`, colour: i % 3 === 0 ? "red" : "blue", n: i } });
  }
  await sdk.doc("Put", { TableName, Item: { id: "plain" } }); // not in the index
  const find = { TableName, IndexName, KeyConditionExpression: "colour = :c", ExpressionAttributeValues: { ":c": "red" } };
  await fails(sdk, "doc", "Query", find, "ValidationException", `The table does not have the specified index: ${IndexName}`);

  const added = await sdk.low("UpdateTable", {
    TableName,
    AttributeDefinitions: [{ AttributeName: "colour", AttributeType: "S" }],
    GlobalSecondaryIndexUpdates: [
      { Create: { IndexName, KeySchema: [{ AttributeName: "colour", KeyType: "HASH" }], Projection: { ProjectionType: "KEYS_ONLY" } } },
    ],
  });
  assert.equal(added.TableDescription.GlobalSecondaryIndexes[0].IndexName, IndexName);
  await until("index ACTIVE", async () => {
    const { Table } = await sdk.low("DescribeTable", { TableName });
    return Table.TableStatus === "ACTIVE" && Table.GlobalSecondaryIndexes[0].IndexStatus === "ACTIVE";
  });
  await sdk.doc("Put", { TableName, Item: { id: "late", colour: "red" } });
  await sdk.doc("Update", { TableName, Key: { id: "i0" }, UpdateExpression: "SET colour = :c", ExpressionAttributeValues: { ":c": "blue" } });
  await sdk.doc("Delete", { TableName, Key: { id: "i3" } });
  const red = await until("the index follows", async () => {
    const { Items } = await sdk.doc("Query", find);
    return Items.length === 9 && Items;
  });
  const want = ["i6", "i9", "i12", "i15", "i18", "i21", "i24", "i27", "late"].map((id) => ({ id, colour: "red" }));
  const byId = (a, b) => (a.id < b.id ? -1 : 1);
  assert.deepEqual(red.sort(byId), want.sort(byId));
  const whole = await sdk.pages("Scan", { TableName, IndexName, Limit: 7 });
  assert.equal(whole.flatMap((page) => page.Items).length, 30);

  await sdk.low("UpdateTable", { TableName, GlobalSecondaryIndexUpdates: [{ Delete: { IndexName } }] });
  await until("index gone", async () => !(await sdk.low("DescribeTable", { TableName })).Table.GlobalSecondaryIndexes?.length);
  await fails(sdk, "doc", "Query", find, "ValidationException", `The table does not have the specified index: ${IndexName}`);
  assert.equal((await sdk.doc("Scan", { TableName, Select: "COUNT" })).Count, 31);
  await dropped(sdk, TableName);
}
