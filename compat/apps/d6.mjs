// D6: aws-samples/serverless-patterns, apigw-websocket-api-sqs-lambda. SAM, Node, an
// integration of type AWS to an SQS FIFO queue.
import assert from "node:assert/strict";
import { queueSteps } from "./queue.mjs";

const at = "apigw-websocket-api-sqs-lambda";
const region = "us-east-1";

export const d6 = {
  id: "D6",
  title: "apigw-websocket-api-sqs-lambda (SAM)",
  source: { repository: "aws-samples/serverless-patterns", commit: "fb7b5d06c2", paths: [at] },
  at,
  args: ["--region", region],

  async scenario(play) {
    const { apis, outputs, accountId } = play.gate.status;
    await play.step("0. outputs: the stage's URL and the queue's", async () => {
      assert.equal(outputs.WebsocketURI, `wss://${apis[0].id}.execute-api.${region}.amazonaws.com/production`);
      assert.equal(outputs.queue, `https://sqs.${region}.amazonaws.com/${accountId}/APIGWWebsocketQueue.fifo`);
    });
    await queueSteps(play, {
      consumer: "SQSWebsocketResponse", queueArn: `arn:aws:sqs:${region}:${accountId}:APIGWWebsocketQueue.fifo`, fails: false,
    });
  },
};
