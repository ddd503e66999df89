package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/sigv4"
)

// database calls the DynamoDB API of a running instance, as any SDK would.
type database struct {
	url, region string
	key         sigv4.Key
	http        *http.Client
}

// maxAnswer bounds what is read of one answer: a page of 1 MB in DynamoDB's
// notation, with room to spare.
const maxAnswer = 64 << 20

// database finds the running instance. Its calls are signed with the credentials
// in the environment, which an instance that has credentials asks for; others
// take any. Neither the secret nor a session token leaves this process.
func (c *cli) database(ctx context.Context) (*database, error) {
	in, err := c.instance()
	if err != nil {
		return nil, err
	}
	s, err := in.Status(ctx)
	if err != nil {
		return nil, err
	}
	key := sigv4.Key{ID: c.getenv("AWS_ACCESS_KEY_ID"), Secret: c.getenv("AWS_SECRET_ACCESS_KEY")}
	if key.ID == "" || key.Secret == "" {
		key = sigv4.Key{ID: "livegate", Secret: "livegate"}
	}
	// Without a proxy: the instance is on this machine.
	return &database{url: in.Run.URL, region: s.Region, key: key, http: &http.Client{Transport: &http.Transport{}}}, nil
}

// call does one operation. What DynamoDB refuses is a BadRequest fault with its
// exception's name as type.
func (d *database) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	sigv4.Sign(req, body, d.key, sigv4.Scope{Region: d.region, Service: "dynamodb"}, time.Now())
	resp, err := d.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return &fault.Error{Kind: fault.Unavailable, Msg: d.url + " does not answer", Err: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fault.New(fault.Unavailable, "the answer of %s broke off: %v", d.url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return exception(resp, answer)
	}
	return json.Unmarshal(answer, out)
}

// exception reads an error answer. AWS spells the text's name in two ways.
func exception(resp *http.Response, answer []byte) error {
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // matches Message too
	}
	if json.Unmarshal(answer, &e) != nil || e.Type == "" {
		return fault.New(fault.Unavailable, "HTTP %s: this does not look like Livegate's tables", resp.Status)
	}
	_, name, _ := strings.Cut(e.Type, "#")
	kind := fault.BadRequest
	if resp.StatusCode >= http.StatusInternalServerError {
		kind = fault.Unavailable
	}
	if e.Message == "" {
		e.Message = name
	}
	return fault.Typed(kind, name, "%s", e.Message)
}

// list is the names of all tables.
func (d *database) list(ctx context.Context) (names []string, err error) {
	in := map[string]any{}
	for {
		var page struct {
			TableNames             []string
			LastEvaluatedTableName string
		}
		if err := d.call(ctx, "ListTables", in, &page); err != nil {
			return nil, err
		}
		names = append(names, page.TableNames...)
		if page.LastEvaluatedTableName == "" {
			return names, nil
		}
		in["ExclusiveStartTableName"] = page.LastEvaluatedTableName
	}
}

// keyElement, indexDescription and description are parts of DescribeTable's
// answer.
type keyElement struct{ AttributeName, KeyType string }

type projection struct {
	ProjectionType   string   `json:",omitempty"`
	NonKeyAttributes []string `json:",omitempty"`
}

func (p projection) text() string {
	if len(p.NonKeyAttributes) == 0 {
		return strings.ToLower(p.ProjectionType)
	}
	return joined(p.NonKeyAttributes)
}

type indexDescription struct {
	Name       string       `json:"IndexName"`
	Keys       []keyElement `json:"KeySchema"`
	Projection projection
	Items      int64 `json:"ItemCount"`
}

type description struct {
	Name       string                                          `json:"TableName"`
	ARN        string                                          `json:"TableArn"`
	Status     string                                          `json:"TableStatus"`
	Attributes []struct{ AttributeName, AttributeType string } `json:"AttributeDefinitions"`
	Keys       []keyElement                                    `json:"KeySchema"`
	Items      int64                                           `json:"ItemCount"`
	Bytes      int64                                           `json:"TableSizeBytes"`
	Globals    []indexDescription                              `json:"GlobalSecondaryIndexes,omitempty"`
	Locals     []indexDescription                              `json:"LocalSecondaryIndexes,omitempty"`
	Stream     *struct{ StreamViewType string }                `json:"StreamSpecification,omitempty"`
}

func (d *description) streamText() string {
	if d.Stream == nil || d.Stream.StreamViewType == "" {
		return ""
	}
	return strings.ToLower(strings.ReplaceAll(d.Stream.StreamViewType, "_", " "))
}

// schemaText is "id (S), at (N)".
func (d *description) schemaText(keys []keyElement) string {
	var parts []string
	for _, k := range keys {
		for _, a := range d.Attributes {
			if a.AttributeName == k.AttributeName {
				parts = append(parts, a.AttributeName+" ("+a.AttributeType+")")
			}
		}
	}
	return joined(parts)
}

func (d *description) keyText() string { return d.schemaText(d.Keys) }

func (d *description) indexNames() (names []string) {
	for _, i := range append(append([]indexDescription{}, d.Globals...), d.Locals...) {
		names = append(names, i.Name)
	}
	return names
}

// describe describes a table; an unknown one is refused with the names there are.
func (d *database) describe(ctx context.Context, name string) (t description, raw json.RawMessage, err error) {
	var out struct{ Table json.RawMessage }
	err = d.call(ctx, "DescribeTable", map[string]any{"TableName": name}, &out)
	if err != nil {
		return t, nil, d.named(ctx, name, err)
	}
	return t, out.Table, json.Unmarshal(out.Table, &t)
}

// named adds the tables that exist to an error about one that does not.
func (d *database) named(ctx context.Context, name string, err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Type != "ResourceNotFoundException" {
		return err
	}
	names, again := d.list(ctx)
	switch {
	case again != nil:
		return err
	case len(names) == 0:
		return fault.New(fault.NotFound, "there is no table %q: the application has no tables", name)
	}
	return fault.New(fault.NotFound, "there is no table %q; there are %s", name, joined(names))
}
