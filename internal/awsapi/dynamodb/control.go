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

type tableRef struct{ TableName *string }

type resourceRef struct {
	ResourceArn *string
	Tags        []table.Tag
	TagKeys     []string
}

func createTable(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.CreateTableInput{}
	if err := decodeJSON(body, in); err != nil {
		return nil, err
	}
	d, err := e.CreateTable(ctx, in)
	if err != nil {
		return nil, err
	}
	return encodeJSON(out, "TableDescription", d)
}

func updateTable(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.UpdateTableInput{}
	if err := decodeJSON(body, in); err != nil {
		return nil, err
	}
	d, err := e.UpdateTable(ctx, in)
	if err != nil {
		return nil, err
	}
	return encodeJSON(out, "TableDescription", d)
}

func describeTable(_ context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := tableRef{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	d, err := e.DescribeTable(in.TableName)
	if err != nil {
		return nil, err
	}
	return encodeJSON(out, "Table", d)
}

func deleteTable(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := tableRef{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	d, err := e.DeleteTable(ctx, in.TableName)
	if err != nil {
		return nil, err
	}
	return encodeJSON(out, "TableDescription", d)
}

func listTables(_ context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := struct {
		ExclusiveStartTableName *string
		Limit                   *int64
	}{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	names, last, err := e.ListTables(in.ExclusiveStartTableName, in.Limit)
	if err != nil {
		return nil, err
	}
	return encodeJSON(out, "", struct {
		TableNames             []string
		LastEvaluatedTableName string `json:",omitempty"`
	}{append([]string{}, names...), last})
}

func describeTimeToLive(_ context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := tableRef{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	ttl, err := e.DescribeTimeToLive(in.TableName)
	if err != nil {
		return nil, err
	}
	d := map[string]string{"TimeToLiveStatus": "DISABLED"}
	if ttl.Enabled {
		d = map[string]string{"TimeToLiveStatus": "ENABLED", "AttributeName": ttl.Attribute}
	}
	return encodeJSON(out, "TimeToLiveDescription", d)
}

func updateTimeToLive(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := struct {
		TableName               *string
		TimeToLiveSpecification *struct {
			AttributeName string
			Enabled       bool
		}
	}{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	spec := in.TimeToLiveSpecification
	if spec == nil {
		return nil, fault.Typed(fault.BadRequest, "ValidationException", "1 validation error detected: Value null at 'timeToLiveSpecification' failed to satisfy constraint: Member must not be null")
	}
	if err := e.UpdateTimeToLive(ctx, in.TableName, table.TimeToLive{Enabled: spec.Enabled, Attribute: spec.AttributeName}); err != nil {
		return nil, err
	}
	return encodeJSON(out, "TimeToLiveSpecification", spec)
}

func listTagsOfResource(_ context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := resourceRef{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	tags, err := e.Tags(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return encodeJSON(out, "Tags", append([]table.Tag{}, tags...))
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

func describeContinuousBackups(_ context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := tableRef{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	on, err := e.PointInTime(in.TableName)
	if err != nil {
		return nil, err
	}
	return encodeBackups(out, on)
}

func updateContinuousBackups(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := struct {
		TableName                        *string
		PointInTimeRecoverySpecification struct{ PointInTimeRecoveryEnabled bool }
	}{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	on := in.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled
	if err := e.SetPointInTime(ctx, in.TableName, on); err != nil {
		return nil, err
	}
	return encodeBackups(out, on)
}

func encodeBackups(out []byte, on bool) ([]byte, error) {
	status := "DISABLED"
	if on {
		status = "ENABLED"
	}
	return encodeJSON(out, "ContinuousBackupsDescription", map[string]any{
		"ContinuousBackupsStatus":        "ENABLED",
		"PointInTimeRecoveryDescription": map[string]any{"PointInTimeRecoveryStatus": status},
	})
}
