package vtl

import (
	"fmt"
	"slices"

	"github.com/livegate/livegate/internal/fault"
)

// call is v.name(args). ErrNoMethod stands for a method that v's Java class does
// not have, or not with such arguments.
func (x *exec) call(v any, name string, args []any) (any, error) {
	switch v := v.(type) {
	case string:
		return x.callString(v, name, args)
	case *List:
		return x.callList(v, name, args)
	case *Map:
		return x.callMap(v, name, args)
	case int64:
		return x.callInteger(v, name, args)
	case float64, Number:
		if err := x.step(x.at, digits(v)/8); err != nil {
			return nil, err
		}
		return x.callDecimal(v, name, args)
	case bool:
		return x.callBool(v, name, args)
	case *block:
		if name == "toString" && len(args) == 0 {
			return x.text(v)
		}
	case Object:
		// The arguments live in a buffer that is used again: the object may keep
		// its slice.
		return v.Call(name, slices.Clone(args))
	}
	return nil, ErrNoMethod
}

// exception is an error as Java's exception of that name would be.
func exception(name, format string, args ...any) error {
	return fault.New(fault.Upstream, "%s: %s", name, fmt.Sprintf(format, args...))
}

// one, two: the arguments if there are that many of the type.
func one[T any](args []any) (a T, ok bool) {
	if len(args) == 1 {
		a, ok = args[0].(T)
	}
	return a, ok
}

func two[T, U any](args []any) (a T, b U, ok bool) {
	if len(args) != 2 {
		return a, b, false
	}
	a, ok1 := args[0].(T)
	b, ok2 := args[1].(U)
	return a, b, ok1 && ok2
}

// asObject answers what every Java object has.
func (x *exec) asObject(v any, name string, args []any) (any, error) {
	switch {
	case name == "toString" && len(args) == 0:
		return x.text(v)
	case name == "equals" && len(args) == 1:
		return x.equal(v, args[0])
	}
	return nil, ErrNoMethod
}

func (x *exec) callBool(v bool, name string, args []any) (any, error) {
	switch name {
	case "booleanValue":
		if len(args) == 0 {
			return v, nil
		}
	case "hashCode":
		if len(args) == 0 {
			if v {
				return int64(1231), nil
			}
			return int64(1237), nil
		}
	case "compareTo":
		if w, ok := one[bool](args); ok {
			switch {
			case v == w:
				return int64(0), nil
			case v:
				return int64(1), nil
			}
			return int64(-1), nil
		}
	case "parseBoolean", "valueOf":
		if s, ok := one[string](args); ok {
			return len(s) == 4 && equalFold(s, "true"), nil
		}
	}
	return x.asObject(v, name, args)
}

func (x *exec) callList(l *List, name string, args []any) (any, error) {
	if l.view == nil {
		if v, err := x.callIndexed(l, name, args); err != ErrNoMethod { //nolint:errorlint // our own, never wrapped
			return v, err
		}
	}
	switch len(args) {
	case 0:
		switch name {
		case "size":
			return int64(len(l.items)), nil
		case "isEmpty":
			return len(l.items) == 0, nil
		case "clear":
			l.items = nil
			return "", nil
		case "iterator", "listIterator":
			return newIterator(l), nil
		case "toArray":
			if err := x.charge(slot * (1 + len(l.items))); err != nil {
				return nil, err
			}
			return &List{items: slices.Clone(l.items)}, nil
		}
	case 1:
		switch name {
		case "add":
			if err := x.charge(slot); err != nil {
				return nil, err
			}
			l.items = append(l.items, args[0])
			return true, nil
		case "contains":
			i, err := x.indexOf(l, args[0])
			return i >= 0, err
		case "remove":
			i, err := x.indexOf(l, args[0])
			if err != nil || i < 0 {
				return false, err
			}
			l.items = slices.Delete(l.items, i, i+1)
			return true, nil
		case "addAll", "containsAll", "removeAll", "retainAll":
			other, err := x.iterate(args[0])
			if err != nil {
				return nil, err
			}
			if other != nil {
				return x.bulk(l, name, other.list)
			}
		}
	}
	return x.asObject(l, name, args)
}

// bulk is a method that takes a whole collection.
func (x *exec) bulk(l *List, name string, other *List) (any, error) {
	if name == "addAll" {
		if err := x.charge(slot * len(other.items)); err != nil {
			return nil, err
		}
		l.items = append(l.items, other.items...)
		return len(other.items) > 0, nil
	}
	if name == "containsAll" {
		for _, v := range other.items {
			if i, err := x.indexOf(l, v); i < 0 || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	kept := make([]any, 0, len(l.items))
	for _, v := range l.items {
		i, err := x.indexOf(other, v)
		if err != nil {
			return nil, err
		}
		if (i >= 0) == (name == "retainAll") {
			kept = append(kept, v)
		}
	}
	changed := len(kept) != len(l.items)
	l.items = kept
	return changed, x.charge(slot * len(kept))
}

func (x *exec) indexOf(l *List, v any) (int, error) {
	for i, item := range l.items {
		if ok, err := x.equal(item, v); ok || err != nil {
			return i, err
		}
	}
	return -1, nil
}

// callIndexed is what lists have beyond collections.
func (x *exec) callIndexed(l *List, name string, args []any) (any, error) {
	i, isIndex := int64(0), false
	if len(args) > 0 {
		i, isIndex = args[0].(int64)
	}
	inBounds := i >= 0 && i < int64(len(l.items))
	switch {
	case name == "get" && len(args) == 1 && isIndex:
		if !inBounds {
			return nil, outOfBounds(i, len(l.items))
		}
		return l.items[i], nil
	case name == "remove" && len(args) == 1 && isIndex:
		if !inBounds {
			return nil, outOfBounds(i, len(l.items))
		}
		v := l.items[i]
		l.items = slices.Delete(l.items, int(i), int(i)+1)
		return v, x.work(slot * len(l.items))
	case name == "set" && len(args) == 2 && isIndex:
		if !inBounds {
			return nil, outOfBounds(i, len(l.items))
		}
		old := l.items[i]
		l.items[i] = args[1]
		return old, nil
	case name == "add" && len(args) == 2 && isIndex:
		if i < 0 || i > int64(len(l.items)) {
			return nil, outOfBounds(i, len(l.items))
		}
		l.items = slices.Insert(l.items, int(i), args[1])
		if err := x.work(slot * len(l.items)); err != nil {
			return nil, err
		}
		return "", x.charge(slot)
	case name == "indexOf" && len(args) == 1:
		i, err := x.indexOf(l, args[0])
		return int64(i), err
	case name == "lastIndexOf" && len(args) == 1:
		for i := len(l.items) - 1; i >= 0; i-- {
			if ok, err := x.equal(l.items[i], args[0]); ok || err != nil {
				return int64(i), err
			}
		}
		return int64(-1), nil
	case name == "subList":
		if from, to, ok := two[int64, int64](args); ok {
			if from < 0 || to > int64(len(l.items)) || from > to {
				return nil, exception("IndexOutOfBoundsException", "subList(%d, %d) of a list of %d", from, to, len(l.items))
			}
			return &List{items: slices.Clone(l.items[from:to])}, x.charge(slot * int(to-from+1))
		}
	case name == "join":
		if sep, ok := one[string](args); ok {
			return x.join(sep, l)
		}
	}
	return nil, ErrNoMethod
}

func outOfBounds(i int64, n int) error {
	return exception("IndexOutOfBoundsException", "index %d of a list of %d", i, n)
}

// join is the items' texts with sep between them.
func (x *exec) join(sep string, l *List) (any, error) {
	if err := x.work(slot * len(l.items)); err != nil {
		return nil, err
	}
	return x.captured(func() error {
		for i, v := range l.items {
			if i > 0 {
				if err := x.print(sep); err != nil {
					return err
				}
			}
			if v == nil {
				v = "null"
			}
			if err := x.printValue(v); err != nil {
				return err
			}
		}
		return nil
	})
}

func (x *exec) callMap(m *Map, name string, args []any) (any, error) {
	switch len(args) {
	case 0:
		return x.callMapAsWhole(m, name)
	case 1:
		return x.callMapByKey(m, name, args[0])
	case 2:
		key, err := x.keyText(args[0])
		if err != nil {
			return nil, err
		}
		old, had := m.Get(key)
		switch name {
		case "put":
			return old, x.put(m, key, args[1])
		case "putIfAbsent":
			if old == nil {
				return nil, x.put(m, key, args[1])
			}
			return old, nil
		case "getOrDefault":
			if had {
				return old, nil
			}
			return args[1], nil
		}
	}
	return x.asObject(m, name, args)
}

func (x *exec) callMapAsWhole(m *Map, name string) (any, error) {
	switch name {
	case "size":
		return int64(m.Len()), nil
	case "isEmpty":
		return m.Len() == 0, nil
	case "clear":
		*m = Map{}
		return "", nil
	case "keySet", "values", "entrySet":
		if err := x.charge(3 * slot * (1 + m.Len())); err != nil {
			return nil, err
		}
		l := &List{items: make([]any, 0, m.Len()), view: m}
		for k, v := range m.All() {
			switch name {
			case "keySet":
				l.items = append(l.items, k)
			case "values":
				l.items = append(l.items, v)
			default:
				l.items = append(l.items, &entry{k, v})
			}
		}
		return l, x.work(slot * m.Len())
	}
	return x.asObject(m, name, nil)
}

func (x *exec) callMapByKey(m *Map, name string, arg any) (any, error) {
	switch name {
	case "get", "containsKey", "remove":
		key, err := x.keyText(arg)
		if err != nil {
			return nil, err
		}
		if name == "remove" {
			v, _ := m.Delete(key)
			return v, x.work(slot * m.Len())
		}
		v, ok := m.Get(key)
		if name == "containsKey" {
			return ok, nil
		}
		return v, nil
	case "containsValue":
		i, err := x.indexOf(&List{items: m.values}, arg)
		return i >= 0, err
	case "putAll":
		if other, ok := arg.(*Map); ok {
			for i, k := range other.keys {
				if err := x.put(m, k, other.values[i]); err != nil {
					return nil, err
				}
			}
			return "", x.work(slot * other.Len())
		}
	}
	return x.asObject(m, name, []any{arg})
}
