// The AWS SDK for JavaScript v3 with its DocumentClient on the tables of a running
// Livegate (AWS_ENDPOINT_URL).
import * as low from "@aws-sdk/client-dynamodb";
import * as streams from "@aws-sdk/client-dynamodb-streams";
import * as lib from "@aws-sdk/lib-dynamodb";
import { unmarshall } from "@aws-sdk/util-dynamodb";
import { scenarios } from "./scenarios.mjs";

const client = new low.DynamoDBClient({ maxAttempts: 1 });
const records = new streams.DynamoDBStreamsClient({ maxAttempts: 1 });
const marshallOptions = { removeUndefinedValues: true };
const documents = lib.DynamoDBDocumentClient.from(client, { marshallOptions });
// A client of its own: a second translation replaces the first one's.
const exact = lib.DynamoDBDocumentClient.from(new low.DynamoDBClient({ maxAttempts: 1 }), { marshallOptions, unmarshallOptions: { wrapNumbers: true } });

const patience = { client, maxWaitTime: 20, minDelay: 1, maxDelay: 2 };

await scenarios({
  name: "js3",
  documentPartiQL: true,

  low: (op, params) => client.send(new low[`${op}Command`](params)),
  doc: (op, params) => documents.send(new lib[`${op}Command`](params)),
  exact: (op, params) => exact.send(new lib[`${op}Command`](params)),
  streams: (op, params) => records.send(new streams[`${op}Command`](params)),

  set: (values) => new Set(values),
  values: (set) => [...set],
  bigNumber: async (text) => lib.NumberValue.from(text),

  // Errors are not the DocumentClient's: their items come with types.
  async failure(service, op, params) {
    try {
      await this[service](op, params);
    } catch (err) {
      return {
        name: err.name,
        message: err.message,
        status: err.$metadata?.httpStatusCode,
        item: err.Item && unmarshall(err.Item),
        reasons: err.CancellationReasons?.map((r) => ({ ...r, Item: r.Item && unmarshall(r.Item) })),
      };
    }
    throw new Error(`${op} went through: ${JSON.stringify(params)}`);
  },

  /** All pages of Query, Scan (as documents) or ListTables, by the SDK's own paginator. */
  async pages(op, params) {
    const { Limit: pageSize, ...rest } = params;
    const paginate = op === "ListTables" ? low.paginateListTables : lib[`paginate${op}`];
    const found = [];
    for await (const page of paginate({ client: op === "ListTables" ? client : documents, pageSize }, rest)) {
      found.push(page);
    }
    return found;
  },

  exists: (TableName) => low.waitUntilTableExists(patience, { TableName }),
  gone: (TableName) => low.waitUntilTableNotExists(patience, { TableName }),
});
