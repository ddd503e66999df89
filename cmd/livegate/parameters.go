package main

import (
	"strings"
)

// parseOverrides reads --parameter-overrides in the two forms that SAM takes:
//
//	Key=Value Other='a b' Third="say \"hi\""
//	ParameterKey=Key,ParameterValue=Value ParameterKey=Other,ParameterValue="a b"
//
// Entries are separated by spaces; quotes protect spaces; a backslash protects the
// next character. A key given twice takes its last value.
func parseOverrides(texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range texts {
		words, err := words("--parameter-overrides", text)
		if err != nil {
			return nil, err
		}
		for _, w := range words {
			key, value, ok := strings.Cut(w, "=")
			if key == "ParameterKey" && ok {
				key, value, ok = strings.Cut(value, ",")
				if ok {
					value, ok = strings.CutPrefix(value, "ParameterValue=")
				}
				if !ok {
					return nil, usagef("--parameter-overrides: %q: want ParameterKey=NAME,ParameterValue=VALUE", w)
				}
			}
			if !ok || !parameterName(key) {
				return nil, usagef("--parameter-overrides: %q: want Key=Value (letters and digits, then the value; quote values with spaces)", w)
			}
			out[key] = value
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// parsePairs reads NAME=VALUE entries whose names are not logical names: SSM
// parameters ("/app/url=x") and exports. Quoting is that of parseOverrides.
func parsePairs(flag string, texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range texts {
		words, err := words(flag, text)
		if err != nil {
			return nil, err
		}
		for _, w := range words {
			name, value, ok := strings.Cut(w, "=")
			if !ok || name == "" {
				return nil, usagef("%s: %q: want NAME=VALUE (quote values with spaces)", flag, w)
			}
			out[name] = value
		}
	}
	return out, nil
}

// parameterName checks a logical name: CloudFormation allows letters and digits.
func parameterName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// words splits at spaces outside quotes and takes the quotes away.
func words(flag, text string) ([]string, error) {
	var (
		out   []string
		word  strings.Builder
		begun bool
		quote rune
		skip  bool
	)
	for _, r := range text {
		switch {
		case skip:
			word.WriteRune(r)
			skip = false
		case r == '\\' && quote != '\'':
			skip, begun = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, begun = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if begun {
				out = append(out, word.String())
				word.Reset()
				begun = false
			}
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if quote != 0 || skip {
		return nil, usagef("%s: %q: a quote is left open", flag, text)
	}
	if begun {
		out = append(out, word.String())
	}
	return out, nil
}
