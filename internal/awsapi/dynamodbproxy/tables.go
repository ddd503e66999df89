package dynamodbproxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

const (
	// createWait is how long a new table may take; on AWS it is some ten seconds.
	createWait = 2 * time.Minute
	createPoll = 250 * time.Millisecond

	typeNotFound = "ResourceNotFoundException"
	typeInUse    = "ResourceInUseException"
)

// Ensure creates the tables of a template that the endpoint lacks, and waits until
// they can be used; it returns their names. Tables that are there are left alone:
// what they hold and how they are set is their owner's. One with another primary
// key is a Conflict, before anything is created.
func (h *Handler) Ensure(ctx context.Context, tables []*model.Table) (created []string, err error) {
	var missing []*model.Table
	for _, m := range tables {
		there, err := h.describe(ctx, m.Name)
		switch {
		case isType(err, typeNotFound):
			missing = append(missing, m)
		case err != nil:
			return nil, err
		case keyText(there.KeySchema) != keyText(schemaOf(m.Key)):
			return nil, fault.New(fault.Conflict, "%s: table %s has the primary key %s at the DynamoDB endpoint %s and %s in the template; change the template, or give the table another name",
				m.Pos, m.Name, keyText(there.KeySchema), h.target, keyText(schemaOf(m.Key)))
		}
	}
	for _, m := range missing {
		if err := h.call(ctx, "CreateTable", creation(m), nil); isType(err, typeInUse) {
			continue // somebody else was faster
		} else if err != nil {
			return created, err
		}
		created = append(created, m.Name)
	}
	for _, m := range missing {
		if err := h.settle(ctx, m); err != nil {
			return created, err
		}
	}
	return created, nil
}

// settle waits until a table can be used, then switches on what CreateTable cannot.
func (h *Handler) settle(ctx context.Context, m *model.Table) error {
	ctx, cancel := context.WithTimeoutCause(ctx, createWait, fault.New(fault.Timeout, "table %s is not ready at the DynamoDB endpoint %s after %v", m.Name, h.target, createWait))
	defer cancel()
	tick := time.NewTicker(createPoll)
	defer tick.Stop()
	for {
		there, err := h.describe(ctx, m.Name)
		// AWS answers from replicas: a table may not be known everywhere at once.
		if err != nil && !isType(err, typeNotFound) {
			return err
		}
		if err == nil && there.TableStatus == "ACTIVE" {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if m.TTL == "" {
		return nil
	}
	type specification struct {
		AttributeName string
		Enabled       bool
	}
	return h.call(ctx, "UpdateTimeToLive", map[string]any{
		"TableName": m.Name, "TimeToLiveSpecification": specification{m.TTL, true},
	}, nil)
}

// described is what is read of DescribeTable's answer.
type described struct {
	TableStatus string
	KeySchema   []keyElement
}

func (h *Handler) describe(ctx context.Context, name string) (*described, error) {
	var out struct{ Table described }
	err := h.call(ctx, "DescribeTable", map[string]string{"TableName": name}, &out)
	return &out.Table, err
}

// call does one operation with the configured credentials. What the endpoint
// refuses is Forbidden with its exception's name as type; BadRequest is an answer
// that no DynamoDB gives.
func (h *Handler) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	head := http.Header{"X-Amz-Target": {targetPrefix + operation}, "Content-Type": {contentType}}
	resp, err := h.forward(ctx, head, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return fault.New(fault.Unavailable, "the answer of the DynamoDB endpoint %s to %s broke off: %v", h.target, operation, err)
	}
	if resp.StatusCode == http.StatusOK {
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(answer, out); err != nil {
			return fault.New(fault.BadRequest, "the DynamoDB endpoint %s answers %s with something else: %v", h.target, operation, err)
		}
		return nil
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // matches Message too
	}
	if json.Unmarshal(answer, &e) != nil || e.Type == "" {
		return fault.New(fault.BadRequest, "%s answers HTTP %s: this does not look like DynamoDB", h.target, resp.Status)
	}
	name := e.Type[strings.LastIndexByte(e.Type, '#')+1:]
	return fault.Typed(fault.Forbidden, name, "the DynamoDB endpoint %s refuses %s: %s: %s", h.target, operation, name, e.Message)
}

func isType(err error, name string) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && e.Type == name
}

type keyElement struct{ AttributeName, KeyType string }

func schemaOf(k model.KeySchema) []keyElement {
	schema := []keyElement{{k.Hash, "HASH"}}
	if k.Range != "" {
		schema = append(schema, keyElement{k.Range, "RANGE"})
	}
	return schema
}

func keyText(schema []keyElement) string {
	names := make([]string, len(schema))
	for i, k := range schema {
		names[i] = k.AttributeName
	}
	return strings.Join(names, ", ")
}

type projection struct {
	ProjectionType   string
	NonKeyAttributes []string `json:",omitempty"`
}

type throughput struct{ ReadCapacityUnits, WriteCapacityUnits int64 }

type index struct {
	IndexName             string
	KeySchema             []keyElement
	Projection            projection
	ProvisionedThroughput *throughput `json:",omitempty"`
}

func indexes(in []model.Index, t *throughput) []index {
	var out []index
	for _, x := range in {
		p := projection{x.Projection, x.NonKey}
		if p.ProjectionType == "" {
			p.ProjectionType = "ALL"
		}
		out = append(out, index{x.Name, schemaOf(x.Key), p, t})
	}
	return out
}

// creation is CreateTable's request for a table of a template.
func creation(m *model.Table) any {
	type attribute struct{ AttributeName, AttributeType string }
	type stream struct {
		StreamEnabled  bool
		StreamViewType string
	}
	in := struct {
		TableName                 string
		AttributeDefinitions      []attribute
		KeySchema                 []keyElement
		LocalSecondaryIndexes     []index `json:",omitempty"`
		GlobalSecondaryIndexes    []index `json:",omitempty"`
		BillingMode               string
		ProvisionedThroughput     *throughput `json:",omitempty"`
		StreamSpecification       *stream     `json:",omitempty"`
		DeletionProtectionEnabled bool        `json:",omitempty"`
	}{TableName: m.Name, KeySchema: schemaOf(m.Key), BillingMode: "PAY_PER_REQUEST", DeletionProtectionEnabled: m.Protected}
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		in.AttributeDefinitions = append(in.AttributeDefinitions, attribute{name, m.Attributes[name]})
	}
	if !m.OnDemand {
		in.BillingMode, in.ProvisionedThroughput = "PROVISIONED", &throughput{max(m.Read, 1), max(m.Write, 1)}
	}
	in.LocalSecondaryIndexes = indexes(m.LSIs, nil)
	in.GlobalSecondaryIndexes = indexes(m.GSIs, in.ProvisionedThroughput)
	if m.StreamView != "" {
		in.StreamSpecification = &stream{true, m.StreamView}
	}
	return in
}
