package dynamodb

import (
	"context"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/table"
)

// statement reads a member if it belongs to one statement.
func (d decoder) statement(s *table.Statement, name string) bool {
	switch name {
	case "Statement":
		s.Text = d.text()
	case "Parameters":
		s.Parameters = []attr.Value{}
		d.Array(func() { s.Parameters = append(s.Parameters, *d.value(&s.Invalid)) })
	case "ConsistentRead":
		s.Consistent = d.Bool()
	case "ReturnValuesOnConditionCheckFailure":
		s.OnFailure = d.String()
	default:
		return false
	}
	return true
}

func (d decoder) statements() []table.Statement {
	list := []table.Statement{}
	d.few(func() {
		var s table.Statement
		d.members(func(name string) {
			if !d.statement(&s, name) {
				d.Skip()
			}
		})
		list = append(list, s)
	})
	return list
}

func executeStatement(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.Statement{}
	err := request(body, func(d decoder, name string) {
		switch {
		case name == "NextToken":
			in.NextToken = d.text()
		case name == "Limit":
			in.Limit = d.number()
		case name == "ReturnConsumedCapacity":
			in.Capacity = d.String()
		case d.statement(in, name):
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.ExecuteStatement(ctx, in)
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	o.raw("Items", res.Items)
	o.item("LastEvaluatedKey", res.LastKey)
	if res.NextToken != "" {
		o.text("NextToken", res.NextToken)
	}
	o.capacity(res.Capacity)
	return o.end(), nil
}

func batchExecuteStatement(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	var statements []table.Statement
	capacity := ""
	err := request(body, func(d decoder, name string) {
		switch name {
		case "Statements":
			statements = d.statements()
		case "ReturnConsumedCapacity":
			capacity = d.String()
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.BatchExecuteStatement(ctx, statements, capacity)
	return appendResults(out, res, err)
}

func executeTransaction(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.TransactionInput{}
	var statements []byte
	err := request(body, func(d decoder, name string) {
		switch name {
		case "TransactStatements":
			statements = d.Raw()
			inner := decoder{attr.NewReader(statements)}
			in.Statements = inner.statements()
			if err := inner.Err(); err != nil {
				d.Fail(err)
			}
		case "ClientRequestToken":
			in.Token = d.text()
		case "ReturnConsumedCapacity":
			in.Capacity = d.String()
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	if in.Token != nil {
		in.Fingerprint = fingerprint(statements)
	}
	res, err := e.ExecuteTransaction(ctx, in)
	return appendResults(out, res, err)
}

func appendResults(out []byte, res *table.StatementsOutput, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	o.key("Responses")
	o.buf = append(o.buf, '[')
	for i, r := range res.Results {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = appendResult(o.buf, &r)
	}
	o.buf = append(o.buf, ']')
	o.capacities(res.Capacity)
	return o.end(), nil
}

func appendResult(dst []byte, r *table.StatementResult) []byte {
	o := newObject(dst)
	if r.Code != "" {
		o.key("Error")
		inner := newObject(o.buf)
		inner.text("Code", r.Code)
		inner.text("Message", r.Message)
		if r.Item != nil {
			inner.raw("Item", r.Item)
		}
		o.buf = inner.end()
	} else if r.Item != nil {
		o.raw("Item", r.Item)
	}
	if r.Table != "" {
		o.text("TableName", r.Table)
	}
	return o.end()
}
