package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"podlet/internal/registry"
)

// printExplanation prints a line for each host, the first to be asked first.
func printExplanation(w io.Writer, e registry.Explanation, by, credentials string) error {
	fmt.Fprintln(w, e.Name)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "hosts\t%s\n", e.From)
	fmt.Fprintf(t, "credentials\t%s\n", credentials)
	fmt.Fprintf(t, "said by\t%s\n", by)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "\tHOST\tASKED FOR\tTLS\tPROXY\tCREDENTIALS\tWHY")
	for i, h := range e.Hosts {
		proxy := h.Proxy
		if proxy == "" {
			proxy = "none"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", i+1, h.URL, askedFor(e, h), tlsText(h.TLS), proxy, credentialsText(h.Credentials), h.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range notes(e) {
		fmt.Fprintln(w, note)
	}
	return nil
}

// askedFor says what a host is for in this pull.
func askedFor(e registry.Explanation, h registry.ExplainedHost) string {
	switch {
	case h.AskedForTag && h.AskedForBlobs:
		return "tag, all else"
	case h.AskedForTag:
		return "tag"
	case h.AskedForBlobs && e.Tag != "":
		return "all but the tag"
	case h.AskedForBlobs:
		return "all"
	}
	return "nothing"
}

func tlsText(t registry.ExplainedTLS) string {
	if !t.Used {
		return "none"
	}
	parts := []string{"the node's CAs"}
	if !t.Verified {
		parts[0] = "NOT VERIFIED"
	}
	for _, file := range t.CA {
		parts = append(parts, filepath.Base(file))
	}
	for _, file := range t.ClientCertificates {
		parts = append(parts, "shows "+filepath.Base(file))
	}
	return strings.Join(parts, ", ")
}

func credentialsText(c registry.ExplainedCredentials) string {
	if c.User != "" {
		return c.Kind + " of " + c.User
	}
	return c.Kind
}

// notes are what has no place in the table.
func notes(e registry.Explanation) (all []string) {
	for i, h := range e.Hosts {
		var of []string
		if h.Namespace != "" {
			of = append(of, "is told that "+h.Namespace+" is meant (?ns=)")
		}
		if len(h.Headers) > 0 {
			of = append(of, "gets the headers "+strings.Join(h.Headers, ", "))
		}
		if h.DialTimeout != "" {
			of = append(of, "must answer a connection within "+h.DialTimeout)
		}
		for _, file := range append(append([]string{}, h.TLS.CA...), h.TLS.ClientCertificates...) {
			of = append(of, "TLS file "+file)
		}
		of = append(of, "credentials: "+h.Credentials.Why)
		all = append(all, fmt.Sprintf("%d: %s", i+1, strings.Join(of, "; ")))
	}
	for _, file := range e.Verifiers {
		all = append(all, "verifier, which must accept the image: "+file)
	}
	for _, text := range e.Warnings {
		all = append(all, "warning: "+text)
	}
	return all
}
