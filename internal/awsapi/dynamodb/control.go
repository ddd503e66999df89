package dynamodb

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/table"
)

// The control plane goes through encoding/json: its shapes are the engine's own
// (see table/wire.go) and nobody calls it a thousand times a second.

// decodeJSON reads a request; what does not fit its shape is a
// SerializationException.
func decodeJSON(body []byte, in any) error {
	if len(body) == 0 {
		return nil
	}
	err := json.Unmarshal(body, in)
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		return fault.Typed(fault.BadRequest, "SerializationException", "%s cannot be converted to %s at %s", mismatch.Value, mismatch.Type, mismatch.Field)
	}
	return fault.Typed(fault.BadRequest, "SerializationException", "")
}

// encodeJSON appends {name: value}; an empty name appends value itself.
func encodeJSON(out []byte, name string, value any) ([]byte, error) {
	if name != "" {
		value = map[string]any{name: value}
	}
	b, err := json.Marshal(value)
	return append(out, b...), err
}

// control makes an operation of a function from one shape to another. name is the
// answer's only member; "" when the result is the whole answer.
func control[In any](name string, call func(context.Context, *table.Engine, *In) (any, error)) operation {
	return func(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
		in := new(In)
		if err := decodeJSON(body, in); err != nil {
			return nil, err
		}
		result, err := call(ctx, e, in)
		if err != nil {
			return nil, err
		}
		return encodeJSON(out, name, result)
	}
}

type tableRef struct{ TableName *string }

type resourceRef struct {
	ResourceArn *string
	Tags        []table.Tag
	TagKeys     []string
}

func createTable(ctx context.Context, e *table.Engine, in *table.CreateTableInput) (any, error) {
	return e.CreateTable(ctx, in)
}

func updateTable(ctx context.Context, e *table.Engine, in *table.UpdateTableInput) (any, error) {
	return e.UpdateTable(ctx, in)
}

func describeTable(_ context.Context, e *table.Engine, in *tableRef) (any, error) {
	return e.DescribeTable(in.TableName)
}

func deleteTable(ctx context.Context, e *table.Engine, in *tableRef) (any, error) {
	return e.DeleteTable(ctx, in.TableName)
}

type listTablesInput struct {
	ExclusiveStartTableName *string
	Limit                   *int64
}

func listTables(_ context.Context, e *table.Engine, in *listTablesInput) (any, error) {
	names, last, err := e.ListTables(in.ExclusiveStartTableName, in.Limit)
	if err != nil {
		return nil, err
	}
	return struct {
		TableNames             []string
		LastEvaluatedTableName string `json:",omitempty"`
	}{append([]string{}, names...), last}, nil
}

func describeTimeToLive(_ context.Context, e *table.Engine, in *tableRef) (any, error) {
	ttl, err := e.DescribeTimeToLive(in.TableName)
	if err != nil {
		return nil, err
	}
	d := map[string]string{"TimeToLiveStatus": "DISABLED"}
	if ttl.Enabled {
		d = map[string]string{"TimeToLiveStatus": "ENABLED", "AttributeName": ttl.Attribute}
	}
	return d, nil
}

type updateTimeToLiveInput struct {
	TableName               *string
	TimeToLiveSpecification *struct {
		AttributeName string
		Enabled       bool
	}
}

func updateTimeToLive(ctx context.Context, e *table.Engine, in *updateTimeToLiveInput) (any, error) {
	spec := in.TimeToLiveSpecification
	if spec == nil {
		return nil, fault.Typed(fault.BadRequest, "ValidationException", "1 validation error detected: Value null at 'timeToLiveSpecification' failed to satisfy constraint: Member must not be null")
	}
	if err := e.UpdateTimeToLive(ctx, in.TableName, table.TimeToLive{Enabled: spec.Enabled, Attribute: spec.AttributeName}); err != nil {
		return nil, err
	}
	return spec, nil
}

func listTagsOfResource(_ context.Context, e *table.Engine, in *resourceRef) (any, error) {
	tags, err := e.Tags(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return append([]table.Tag{}, tags...), nil
}

func tagResource(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := resourceRef{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	return out, e.TagResource(ctx, in.ResourceArn, in.Tags)
}

func untagResource(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := resourceRef{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	return out, e.UntagResource(ctx, in.ResourceArn, in.TagKeys)
}

// describeLimits answers with the default quotas of an AWS account (Developer
// Guide, "Service quotas"); none is enforced.
func describeLimits(_ context.Context, _ *table.Engine, _, out []byte) ([]byte, error) {
	return append(out, `{"AccountMaxReadCapacityUnits":80000,"AccountMaxWriteCapacityUnits":80000,"TableMaxReadCapacityUnits":40000,"TableMaxWriteCapacityUnits":40000}`...), nil
}

// describeEndpoints serves SDKs with endpoint discovery turned on.
func describeEndpoints(_ context.Context, e *table.Engine, _, out []byte) ([]byte, error) {
	return encodeJSON(out, "Endpoints", []map[string]any{{"Address": "dynamodb." + e.Region() + ".amazonaws.com", "CachePeriodInMinutes": 1440}})
}

func describeContinuousBackups(_ context.Context, e *table.Engine, in *tableRef) (any, error) {
	on, err := e.PointInTime(in.TableName)
	return backups(on), err
}

type updateContinuousBackupsInput struct {
	TableName                        *string
	PointInTimeRecoverySpecification struct{ PointInTimeRecoveryEnabled bool }
}

func updateContinuousBackups(ctx context.Context, e *table.Engine, in *updateContinuousBackupsInput) (any, error) {
	on := in.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled
	return backups(on), e.SetPointInTime(ctx, in.TableName, on)
}

func backups(on bool) map[string]any {
	status := "DISABLED"
	if on {
		status = "ENABLED"
	}
	return map[string]any{
		"ContinuousBackupsStatus":        "ENABLED",
		"PointInTimeRecoveryDescription": map[string]any{"PointInTimeRecoveryStatus": status},
	}
}
