// What a step may need that livegate does not have yet, and how to see whether it has it:
// services are asked, resources and event sources are looked up in the findings. Nothing
// is written down as missing, so that a step starts to run the day its service is there.
import { CognitoIdentityProviderClient, ListUserPoolsCommand } from "@aws-sdk/client-cognito-identity-provider";
import { EventBridgeClient, ListRulesCommand } from "@aws-sdk/client-eventbridge";
import { ListSecretsCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { ListQueuesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { configuration } from "./aws.mjs";

const questions = {
  "SQS": [SQSClient, () => new ListQueuesCommand({})],
  "EventBridge": [EventBridgeClient, () => new ListRulesCommand({})],
  "Secrets Manager": [SecretsManagerClient, () => new ListSecretsCommand({})],
  "Cognito user pools": [CognitoIdentityProviderClient, () => new ListUserPoolsCommand({ MaxResults: 1 })],
};

/**
 * Asks a running livegate which AWS services it has. One that answers anything but "not
 * implemented" is there; what it lacks, a step will show.
 * @returns {Promise<Record<string, boolean>>} by name
 */
export async function services(status) {
  const out = {};
  for (const [name, [Client, question]] of Object.entries(questions)) {
    const client = new Client(configuration(status));
    try {
      await client.send(question());
      out[name] = true;
    } catch (err) {
      if (!err.$metadata?.httpStatusCode) throw err; // no answer at all
      out[name] = err.$metadata.httpStatusCode !== 501;
    } finally {
      client.destroy();
    }
  }
  return out;
}

const service = (name) => ({ name, built: (livegate) => livegate.services[name] });

const reported = (code, text) => (livegate) =>
  !livegate.status.findings.some((finding) => finding.code === code && finding.message.includes(text));

const source = (name, kind) => ({ name, built: reported("event-source-not-supported", `${kind} events`) });

const resource = (name, type) => ({ name, built: reported("unsupported-resource", `${type} `) });

/** @typedef {{name: string, built: (livegate: {status: object, services: Record<string, boolean>}) => boolean}} Need */

export const sqs = service("SQS");
export const eventBridge = service("EventBridge");
export const secretsManager = service("Secrets Manager");
export const cognito = service("Cognito user pools");
export const queueEvents = source("SQS event sources", "SQS");
export const streamEvents = source("DynamoDB streams as event sources", "DynamoDB");
export const rules = resource("EventBridge rules", "AWS::Events::Rule");
export const restApi = resource("REST APIs", "AWS::ApiGateway::RestApi");
export const appSyncEvents = resource("AppSync Events", "AWS::AppSync::Api");

/** The names of those needs that are not built, each once. */
export function missing(needs, livegate) {
  return [...new Set(needs.filter((need) => !need.built(livegate)).map((need) => need.name))];
}
