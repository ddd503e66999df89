package table

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
)

// selection is a SELECT bound to a table: one range per value that the WHERE
// clause allows the partition key, or the whole table or index.
type selection struct {
	t          *state
	index      *index
	s          *dynexpr.Statement
	in         *Statement
	ranges     []*dynexpr.KeyCondition // nil: scan
	exact      bool                    // the ranges say all that WHERE says
	descending bool
}

func (e *Engine) selectPage(name string, s *dynexpr.Statement, in *Statement) (*StatementOutput, error) {
	t := e.lookup(name)
	if t == nil {
		return nil, notFound("Requested resource not found")
	}
	sel := &selection{t: t, s: s, in: in}
	if err := sel.bind(); err != nil {
		return nil, err
	}
	token, err := sel.token()
	if err != nil {
		return nil, err
	}
	return sel.run(e.store, token)
}

func (sel *selection) bind() error {
	s := sel.s
	if s.Index != "" {
		if sel.index = sel.t.index(s.Index); sel.index == nil {
			return invalid("The table does not have the specified index")
		}
		if sel.index.global && sel.in.Consistent {
			return invalid("Strongly consistent read is not supported on Global Secondary Indexes")
		}
	}
	if err := sel.checkFilter(); err != nil {
		return err
	}
	k := sel.keys()
	sel.ranges, sel.exact = s.Where.KeyConditions(dynexpr.Key{Hash: k.hash, Range: k.rng})
	for _, kc := range sel.ranges {
		if err := k.checkCondition(kc); err != nil {
			return err
		}
	}
	return sel.order(k)
}

func (sel *selection) keys() keySpec {
	if sel.index != nil {
		return sel.index.key
	}
	return sel.t.key
}

// checkFilter refuses conditions on what an index does not show.
func (sel *selection) checkFilter() error {
	if sel.index == nil || sel.index.projection == nil || sel.s.Where == nil {
		return nil
	}
	hidden := slices.DeleteFunc(sel.s.Where.Tops(), func(name string) bool { return slices.Contains(sel.index.attributes, name) })
	if len(hidden) > 0 {
		return invalid("One or more parameter values were invalid: Secondary index %s does not project one or more filter attributes: [%s]", sel.index.name, strings.Join(hidden, ", "))
	}
	return nil
}

// order applies ORDER BY. Partitions stand in the order of their keys if it names
// the partition key, else as the WHERE clause lists them; items within one in the
// order of the sort key.
func (sel *selection) order(k keySpec) error {
	if len(sel.s.OrderBy) == 0 {
		return nil
	}
	if sel.s.Where == nil {
		return invalid("Must have WHERE clause in the statement when using ORDER BY clause.")
	}
	if sel.ranges == nil {
		return invalid("Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.")
	}
	for _, o := range sel.s.OrderBy {
		switch o.Name {
		case k.hash:
			slices.SortStableFunc(sel.ranges, func(a, b *dynexpr.KeyCondition) int {
				order, _ := attr.Compare(a.Hash, b.Hash) // of one type: checkCondition has seen them
				if o.Descending {
					order = -order
				}
				return order
			})
		case k.rng:
			sel.descending = o.Descending
		default:
			return invalid("Variable reference %s in ORDER BY clause must be part of the primary key", o.Name)
		}
	}
	return nil
}

// reader reads range i; i is 0 for a scan.
func (sel *selection) reader(i int) (*reader, error) {
	r := &reader{t: sel.t, index: sel.index, consistent: sel.in.Consistent, capacity: sel.in.Capacity, descending: sel.descending, into: make([]byte, 0, 4096)}
	if sel.s.Where != nil && !sel.exact {
		r.filter = sel.s.Where
	}
	if err := r.project(sel.s.Projection); err != nil {
		return nil, err
	}
	if sel.ranges == nil {
		return r, nil
	}
	return r, r.keyRange(sel.keys(), sel.ranges[i])
}

// run reads a page, range after range.
func (sel *selection) run(store Store, token nextToken) (*StatementOutput, error) {
	out := &StatementOutput{Items: []byte{'['}}
	left, size := 0, 0
	if sel.in.Limit != nil {
		left = int(min(*sel.in.Limit, 1<<30))
	}
	n := max(len(sel.ranges), 1)
	for i := token.ordinal; i < n; i++ {
		if size >= maxPage || sel.in.Limit != nil && left == 0 {
			out.NextToken = sel.encode(nextToken{ordinal: i})
			break
		}
		r, err := sel.reader(i)
		if err != nil {
			return nil, err
		}
		r.limit = left
		if token.last != nil {
			if err := r.checkStartKey(attr.Document{Map: token.last}); err != nil {
				return nil, err
			}
			if at, _ := sel.keys().encode(nil, token.last); !r.within(at) {
				return nil, errNextToken
			}
			r.startAfter(token.last)
			token.last = nil
		}
		page, err := r.run(store)
		if err != nil {
			return nil, err
		}
		out.add(page)
		left -= page.Scanned
		size += r.size
		if page.LastKey != nil {
			out.LastKey = page.LastKey
			out.NextToken = sel.encode(nextToken{i, page.LastKey})
			break
		}
	}
	out.Items = append(out.Items, ']')
	return out, nil
}

// add appends a page of one range.
func (out *StatementOutput) add(page *Page) {
	items := page.Items[1 : len(page.Items)-1]
	if len(items) > 0 && len(out.Items) > 1 {
		out.Items = append(out.Items, ',')
	}
	out.Items = append(out.Items, items...)
	switch {
	case page.Capacity == nil:
	case out.Capacity == nil:
		out.Capacity = page.Capacity
	default:
		out.Capacity.merge(page.Capacity)
	}
}

// nextToken is where a SELECT goes on: in which range, and after which item of
// it. It carries a fingerprint of the statement it belongs to.
type nextToken struct {
	ordinal int
	last    attr.Map // nil: at the range's beginning
}

const fingerprintSize = 8

var errNextToken = attr.Invalid("Invalid NextToken: it is not one that ExecuteStatement returned")

func (sel *selection) fingerprint() []byte {
	b := []byte(*sel.in.Text)
	for _, v := range sel.in.Parameters {
		b = attr.AppendValue(append(b, 0), v)
	}
	sum := sha256.Sum256(b)
	return sum[:fingerprintSize]
}

func (sel *selection) encode(t nextToken) string {
	b := binary.AppendUvarint(sel.fingerprint(), uint64(t.ordinal))
	if t.last != nil {
		b = attr.AppendItem(b, t.last)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (sel *selection) token() (t nextToken, err error) {
	if sel.in.NextToken == nil {
		return t, nil
	}
	b, err := base64.StdEncoding.DecodeString(*sel.in.NextToken)
	if err != nil || len(b) <= fingerprintSize {
		return t, errNextToken
	}
	if !bytes.Equal(b[:fingerprintSize], sel.fingerprint()) {
		return t, invalid("Invalid NextToken: it belongs to another statement or to other parameters")
	}
	ordinal, n := binary.Uvarint(b[fingerprintSize:])
	if n <= 0 || ordinal >= uint64(max(len(sel.ranges), 1)) {
		return t, errNextToken
	}
	t.ordinal = int(ordinal)
	if rest := b[fingerprintSize+n:]; len(rest) > 0 {
		if t.last, err = attr.ParseItem(rest); err != nil {
			return t, errNextToken
		}
	}
	return t, nil
}
