// AWS SDK clients for a running livegate, by its status.
import { LambdaClient, InvokeCommand } from "@aws-sdk/client-lambda";

/** What every client is configured with. The key is nobody's: livegate dev takes any. */
export function configuration({ endpointUrl, region }) {
  return {
    endpoint: endpointUrl,
    region,
    credentials: { accessKeyId: "AKIACOMPATCOMPATCOMP", secretAccessKey: "compat" },
    maxAttempts: 1,
  };
}

/** Calls functions as `aws lambda invoke` does. */
export class Functions {
  constructor(status) {
    this.status = status;
    this.client = new LambdaClient({ ...configuration(status), requestHandler: { requestTimeout: 60_000 } });
  }

  /** The name of a function by its logical id. */
  name(logicalId) {
    const found = this.status.functions.find((f) => f.logicalId === logicalId);
    if (!found) throw new Error(`there is no function ${logicalId}: status lists ${this.status.functions.map((f) => f.logicalId)}`);
    return found.name;
  }

  /**
   * Runs a function once. Without a payload the request has no body.
   * @param {string} name name or ARN
   * @returns {Promise<{answer: any, error: string | undefined}>} error: X-Amz-Function-Error
   */
  async invoke(name, payload) {
    const body = payload === undefined ? undefined : Buffer.from(JSON.stringify(payload));
    const out = await this.client.send(new InvokeCommand({ FunctionName: name, Payload: body }));
    const text = Buffer.from(out.Payload ?? []).toString("utf8");
    return { answer: text ? JSON.parse(text) : undefined, error: out.FunctionError };
  }

  close() {
    this.client.destroy();
  }
}

/**
 * The event that an SQS queue's event source hands to a function.
 * @param {string} queueArn
 * @param {{body: string, attributes?: Record<string, string>}[]} messages attributes are
 *   text message attributes
 */
export function queueEvent(queueArn, messages) {
  const now = String(Date.now());
  return {
    Records: messages.map(({ body, attributes = {} }, i) => ({
      messageId: `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`,
      receiptHandle: `receipt-${i}`,
      body,
      attributes: { ApproximateReceiveCount: "1", SentTimestamp: now, SenderId: "AIDACOMPAT", ApproximateFirstReceiveTimestamp: now },
      messageAttributes: Object.fromEntries(Object.entries(attributes).map(([name, value]) => [
        name, { stringValue: value, stringListValues: [], binaryListValues: [], dataType: "String" },
      ])),
      md5OfBody: "",
      eventSource: "aws:sqs",
      eventSourceARN: queueArn,
      awsRegion: queueArn.split(":")[3],
    })),
  };
}
