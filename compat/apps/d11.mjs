// D11: aws-samples/serverless-patterns, apigw-websocket-api-sqs-lambda-terraform. The
// application of D6 in Terraform (an archive as the code, a random suffix, objects in S3)
// with a Python function.
import assert from "node:assert/strict";
import { queueSteps } from "./queue.mjs";

const at = "apigw-websocket-api-sqs-lambda-terraform";
const region = "us-east-1"; // the default of the variable aws_region

export const d11 = {
  id: "D11",
  title: "apigw-websocket-api-sqs-lambda (Terraform)",
  source: { repository: "aws-samples/serverless-patterns", commit: "fb7b5d06c2", paths: [at] },
  at,

  async scenario(play) {
    const { apis, outputs, accountId, functions } = play.gate.status;
    await play.step("0. outputs, and the random suffix in the function's name", async () => {
      assert.equal(outputs.websocket_URI, `wss://${apis[0].id}.execute-api.${region}.amazonaws.com/production`);
      assert.equal(outputs.account_id, accountId);
      assert.equal(outputs.Queue, `https://sqs.${region}.amazonaws.com/${accountId}/tf-APIGWWebsocketQueue.fifo`);
      assert.equal(functions.length, 1, "functions in the status");
      assert.match(functions[0].name, /^apigw-websocket-response-[A-Za-z0-9]{4}$/);
      assert.equal(outputs.lambda_log_group, `/aws/lambda/${functions[0].name}`);
    });
    await queueSteps(play, {
      consumer: functions[0].logicalId, queueArn: `arn:aws:sqs:${region}:${accountId}:tf-APIGWWebsocketQueue.fifo`, fails: true,
    });
  },
};
