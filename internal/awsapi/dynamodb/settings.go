package dynamodb

import (
	"context"
	"encoding/json"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/table"
)

// What SDKs, CDK and Terraform ask about a table, and what is never so here: the
// answers are those of a table on which nobody has turned it on.

type describeContributorInsightsInput struct{ TableName, IndexName *string }

func describeContributorInsights(_ context.Context, e *table.Engine, in *describeContributorInsightsInput) (any, error) {
	d, err := e.DescribeTable(in.TableName)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"TableName": d.TableName, "ContributorInsightsRuleList": []string{}, "ContributorInsightsStatus": "DISABLED"}
	if in.IndexName != nil {
		answer["IndexName"] = *in.IndexName
	}
	return answer, nil
}

func describeKinesisStreamingDestination(_ context.Context, e *table.Engine, in *tableRef) (any, error) {
	d, err := e.DescribeTable(in.TableName)
	if err != nil {
		return nil, err
	}
	return map[string]any{"TableName": d.TableName, "KinesisDataStreamDestinations": []string{}}, nil
}

func describeTableReplicaAutoScaling(_ context.Context, e *table.Engine, in *tableRef) (any, error) {
	d, err := e.DescribeTable(in.TableName)
	if err != nil {
		return nil, err
	}
	return map[string]any{"TableName": d.TableName, "TableStatus": d.TableStatus, "Replicas": []string{}}, nil
}

func describeGlobalTable(_ context.Context, _ *table.Engine, body, _ []byte) ([]byte, error) {
	in := struct{ GlobalTableName string }{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	return nil, fault.Typed(fault.BadRequest, "GlobalTableNotFoundException", "Global table not found: %s", in.GlobalTableName)
}

func getResourcePolicy(_ context.Context, e *table.Engine, body, _ []byte) ([]byte, error) {
	in := resourceRef{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	if _, err := e.Tags(in.ResourceArn); err != nil { // the same checks of the ARN
		return nil, err
	}
	return nil, fault.Typed(fault.BadRequest, "PolicyNotFoundException", "Resource-based policy not found for the provided ResourceArn: %s", *in.ResourceArn)
}

// listNothing answers an empty list.
func listNothing(name string) operation {
	return func(_ context.Context, _ *table.Engine, body, out []byte) ([]byte, error) {
		var in map[string]json.RawMessage
		if err := decodeJSON(body, &in); err != nil {
			return nil, err
		}
		return encodeJSON(out, name, []string{})
	}
}
