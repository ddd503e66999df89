// What is in the tables, seen through the AWS SDK like any other tool would.
import {
  DeleteItemCommand,
  DynamoDBClient,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { configuration } from "./aws.mjs";

/** Tables of a running livegate, by its status. */
export class Tables {
  constructor(status) {
    this.client = new DynamoDBClient(configuration(status));
  }

  /** All items, every page, in DynamoDB's attribute-value form. */
  async scan(table) {
    const items = [];
    let from;
    do {
      const page = await this.client.send(new ScanCommand({ TableName: table, ExclusiveStartKey: from, ConsistentRead: true }));
      items.push(...page.Items);
      from = page.LastEvaluatedKey;
    } while (from);
    return items;
  }

  /** The items under one hash key. */
  async query(table, key, value) {
    const answer = await this.client.send(
      new QueryCommand({
        TableName: table,
        KeyConditionExpression: "#k = :v",
        ExpressionAttributeNames: { "#k": key },
        ExpressionAttributeValues: { ":v": value },
      }),
    );
    return answer.Items;
  }

  put(table, item) {
    return this.client.send(new PutItemCommand({ TableName: table, Item: item }));
  }

  remove(table, key) {
    return this.client.send(new DeleteItemCommand({ TableName: table, Key: key }));
  }

  /** Sets one attribute of an item. */
  set(table, key, name, value) {
    return this.client.send(
      new UpdateItemCommand({
        TableName: table,
        Key: key,
        UpdateExpression: "SET #n = :v",
        ExpressionAttributeNames: { "#n": name },
        ExpressionAttributeValues: { ":v": value },
      }),
    );
  }

  close() {
    this.client.destroy();
  }
}
