package cni

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestInput: each plugin gets its own configuration, what the spec puts into it, what the pod asks for, and no more of podlet's environment than PATH.
func TestInput(t *testing.T) {
	t.Setenv("SECRET", "podlet's")
	t.Setenv("CNI_COMMAND", "podlet's")
	r := newRig(t, "", "one", "two").open()
	r.configure("10-test.conflist", `{"cniVersion":"1.0.0","name":"net","plugins":[
		{"type":"one","own":{"key":[1,"x"]},"capabilities":{"portMappings":true,"bandwidth":true,"dns":false}},
		{"type":"two","capabilities":{"dns":true,"ipRanges":true,"io.kubernetes.cri.pod-annotations":true,"cgroupPath":true}}]}`)
	r.soon("the configuration is read", r.Configured)
	must(t, r.SetPodCIDRs([]netip.Prefix{netip.MustParsePrefix("10.5.0.0/24"), netip.MustParsePrefix("fd00:5::/64")}))
	p := pod("p1")
	p.Ports = []PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "127.0.0.1"}, {HostPort: 53, ContainerPort: 53, Protocol: "udp"}}
	p.DNS = DNS{Servers: []string{"10.0.0.10"}, Searches: []string{"svc"}, Options: []string{"ndots:5"}}
	p.Bandwidth = Bandwidth{Ingress: 100_000_000}
	p.Annotations = map[string]string{"a": "b"}
	p.CgroupParent = "/kubepods/pod1"
	result, err := r.Add(brief(t), p)
	must(t, err)
	want := &Result{Network: "net", IPs: []netip.Addr{netip.MustParseAddr("10.1.2.3")}, Gateways: []netip.Addr{netip.MustParseAddr("10.1.2.1")}, MAC: "0a:00:00:00:00:01"}
	if !reflect.DeepEqual(result, want) {
		t.Errorf("result %+v, want %+v", result, want)
	}
	must(t, r.Leave(brief(t), "p1"))
	for _, verb := range []string{"ADD", "DEL"} {
		one, two := r.input("one", verb), r.input("two", verb)
		for name, check := range map[string][2]any{
			"name":         {one["name"], "net"},
			"cniVersion":   {two["cniVersion"], "1.0.0"},
			"own key":      {fmt.Sprint(one["own"]), "map[key:[1 x]]"},
			"ports":        {fmt.Sprint(one["runtimeConfig"]), "map[bandwidth:map[ingressBurst:1e+07 ingressRate:1e+08] portMappings:[map[containerPort:80 hostIP:127.0.0.1 hostPort:8080 protocol:tcp] map[containerPort:53 hostPort:53 protocol:udp]]]"},
			"the other's":  {fmt.Sprint(two["runtimeConfig"]), "map[cgroupPath:/kubepods/pod1 dns:map[options:[ndots:5] searches:[svc] servers:[10.0.0.10]] io.kubernetes.cri.pod-annotations:map[a:b] ipRanges:[[map[subnet:10.5.0.0/24]] [map[subnet:fd00:5::/64]]]]"},
			"the result":   {two["prevResult"] != nil, true},
			"first result": {one["prevResult"] != nil, verb == "DEL"},
		} {
			if check[0] != check[1] {
				t.Errorf("%s: %s is %v, want %v", verb, name, check[0], check[1])
			}
		}
		env := strings.Split(r.read("work/env-one-"+verb), "\n")
		for _, want := range []string{
			"CNI_COMMAND=" + verb, "CNI_CONTAINERID=p1", "CNI_NETNS=" + here, "CNI_IFNAME=eth0", "CNI_PATH=" + r.path("bin"),
			"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=name-p1;K8S_POD_INFRA_CONTAINER_ID=p1;K8S_POD_UID=uid-p1",
		} {
			if !slices.Contains(env, want) {
				t.Errorf("%s: the environment lacks %q: %q", verb, want, env)
			}
		}
		for _, v := range env {
			name, _, _ := strings.Cut(v, "=")
			if !strings.HasPrefix(name, "CNI_") && !slices.Contains([]string{"PATH", "PWD", "OLDPWD", "_", "SHLVL", ""}, name) {
				t.Errorf("%s: the environment has %q", verb, v)
			}
		}
	}
	if got, want := fmt.Sprintf("%q", r.calls()), `["one ADD p1 /proc/self/ns/net\n" "two ADD p1 /proc/self/ns/net\n" "two DEL p1 /proc/self/ns/net\n" "one DEL p1 /proc/self/ns/net\n"]`; got != want {
		t.Errorf("calls %s", got)
	}
	if left := r.records(); len(left) > 0 {
		t.Errorf("records %q", left)
	}
}

// TestArgumentsAreNotMadeUp: a name that plugins would read as another argument is refused.
func TestArgumentsAreNotMadeUp(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	for _, change := range []func(*Pod){
		func(p *Pod) { p.Name = "a;K8S_POD_NAMESPACE=kube-system" }, func(p *Pod) { p.Namespace = "a=b" }, func(p *Pod) { p.UID = "a\nb" },
	} {
		p := pod("p1")
		change(&p)
		_, err := r.Add(brief(t), p)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if calls := r.calls(); len(calls) > 0 {
		t.Errorf("calls %q", calls)
	}
}

// TestResults: what each version of the spec says of a pod's addresses.
func TestResults(t *testing.T) {
	for _, c := range []struct{ name, version, result, ips, gateways, mac, fails string }{
		{"1.1.0", "1.1.0", strings.Replace(oneAddress, "1.0.0", "1.1.0", 1), "10.1.2.3", "10.1.2.1", "0a:00:00:00:00:01", ""},
		{"of an older plugin", "1.1.0", oneAddress, "10.1.2.3", "10.1.2.1", "0a:00:00:00:00:01", ""},
		{"without a version", "1.0.0", `{"ips":[{"address":"10.1.2.3/24"}]}`, "10.1.2.3", "", "", ""},
		{"of a newer plugin", "0.4.0", strings.Replace(oneAddress, "1.0.0", "0.4.0", 1), "10.1.2.3", "10.1.2.1", "0a:00:00:00:00:01", ""},
		{"0.3.1", "0.3.1", `{"cniVersion":"0.3.1","interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"version":"6","address":"fd00::5/64","interface":0},{"version":"4","address":"10.1.2.3/24","interface":0}]}`, "fd00::5 10.1.2.3", "", "", ""},
		{"0.2.0", "0.2.0", `{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.3/24","gateway":"10.1.2.1"},"ip6":{"ip":"fd00::5/64"}}`, "10.1.2.3 fd00::5", "10.1.2.1", "", ""},
		{"0.1.0", "", `{"ip4":{"ip":"10.1.2.3/24"}}`, "10.1.2.3", "", "", ""},
		{"others' interfaces", "1.0.0", `{"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"net1","sandbox":"/x"},{"name":"eth0"},{"name":"eth0","sandbox":"/x","mac":"m"}],
			"ips":[{"address":"10.9.9.1/24","interface":0},{"address":"10.9.9.2/24","interface":1},{"address":"10.9.9.3/24","interface":2},{"address":"10.1.2.3/24","interface":3},{"address":"10.9.9.4/24","interface":7}]}`, "10.1.2.3", "", "m", ""},
		{"no sandbox", "1.0.0", `{"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"eth0","mac":"m"}],"ips":[{"address":"10.1.2.3/24","interface":1},{"address":"10.9.9.1/24","interface":0}]}`,
			"10.1.2.3", "", "m", ""},
		{"no interfaces", "1.0.0", `{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24","interface":0}]}`, "10.1.2.3", "", "", ""},
		{"a null version", "1.0.0", `{"cniVersion":null,"ips":[{"address":"10.1.2.3/24"}]}`, "10.1.2.3", "", "", ""},
		{"only others' addresses", "1.0.0", `{"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"net1","sandbox":"/x"},{"name":"eth0"},{"name":"eth0","sandbox":"/x"}],
			"ips":[{"address":"10.9.9.1/24","interface":0},{"address":"10.9.9.2/24","interface":1},{"address":"10.9.9.3/24","interface":2},{"address":"10.9.9.4/24","interface":7}]}`, "", "", "",
			`no address for eth0, only for "br0" without a sandbox, "net1", "eth0" without a sandbox, interface 7, of which it tells nothing`},
		{"no address", "1.0.0", `{"cniVersion":"1.0.0"}`, "", "", "", "no address for eth0"},
		{"null", "1.0.0", `null`, "", "", "", "null"},
		{"no JSON", "1.0.0", `hello`, "", "", "", "hello"},
		{"nothing", "1.0.0", ``, "", "", "", "can't be used"},
		{"unknown version", "1.0.0", `{"cniVersion":"9.9.9","ips":[]}`, "", "", "", "9.9.9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "", "one")
			text := conflist(c.version, "one")
			if c.version == "" {
				text = strings.Replace(text, `"cniVersion":"",`, "", 1)
			}
			r.configure("10-test.conflist", text)
			r.open()
			r.write("work/result", c.result)
			result, err := r.Add(brief(t), pod("p1"))
			if c.fails != "" {
				fails(t, err, "10-test.conflist", c.fails)
			} else {
				must(t, err)
				if got := words(result.IPs); got != c.ips || words(result.Gateways) != c.gateways || result.MAC != c.mac {
					t.Errorf("%+v", result)
				}
			}
			must(t, r.Leave(brief(t), "p1"))
			if got := r.called("one DEL p1"); got != 1 {
				t.Errorf("%d DELs", got)
			}
			if prev := r.input("one", "DEL")["prevResult"]; (prev != nil) != (c.fails == "" || strings.Contains(c.fails, "no address")) && !strings.HasPrefix(c.name, "0.") || strings.HasPrefix(c.name, "0.3") && prev != nil {
				t.Errorf("the result in DEL: %v", prev)
			}
		})
	}
}

func words(list []netip.Addr) string {
	var b []string
	for _, a := range list {
		b = append(b, a.String())
	}
	return strings.Join(b, " ")
}

// TestPluginErrors: an error names verb, plugin, file and time, and has the plugin's own words and code.
func TestPluginErrors(t *testing.T) {
	r := newRig(t, "1.0.0", "one", "two").open()
	for _, c := range []struct {
		name, what string
		says       []string
		is         error
	}{
		{"spec's error", `echo '{"cniVersion":"1.0.0","code":7,"msg":"no subnet","details":"see ipam"}'; exit 1`, []string{"no subnet; see ipam", "code 7: invalid configuration"}, nil},
		{"try again", `echo '{"code":11,"msg":"agent restarts"}'; exit 1`, []string{"agent restarts", "try again later"}, ErrTryAgain},
		{"own code", `echo '{"code":110,"msg":"mine"}'; exit 1`, []string{"mine (code 110)"}, nil},
		{"stderr", `echo broken >&2; exit 3`, []string{"broken", "exit status 3"}, nil},
		{"stdout", `echo broken; exit 3`, []string{"broken", "exit status 3"}, nil},
		{"silence", `exit 3`, []string{"says nothing", "exit status 3"}, nil},
		{"signal", `kill -9 $$`, []string{"signal: killed"}, nil},
		{"endless", `yes '{"code":1}' | head -c 9000000; exit 0`, []string{"more than 4194304 bytes"}, nil},
	} {
		r.does("two", "ADD", c.what)
		_, err := r.Add(brief(t), pod("p1"))
		fails(t, err, append(c.says, "CNI ADD by plugin two of 10-test.conflist", "of 20s")...)
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", c.name, err, c.is)
		}
		must(t, r.Leave(brief(t), "p1"))
	}
	r.mended("two", "ADD")
	r.remove("bin/two")
	_, err := r.Add(brief(t), pod("p1"))
	fails(t, err, `plugin "two" is in none of`, r.path("bin"), "--cni-bin-dirs")
	r.install("two")
	must(t, r.Leave(brief(t), "p1"))
	if got := r.records(); len(got) > 0 {
		t.Errorf("records %q", got)
	}
	r.add("p1")
}

// TestPluginIsWritten: a plugin that is open for writing is waited for.
func TestPluginIsWritten(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	for {
		f, err := openForWriting(r.path("bin/one"))
		must(t, err)
		began, done := time.Now(), make(chan error, 1)
		go func() {
			_, err := r.Add(brief(t), pod("p1"))
			done <- err
		}()
		r.soon("the record is there", func() bool { return len(r.records()) == 1 })
		must(t, f.Close())
		late := time.Since(began) > busyTries*busyWait/2
		err = <-done
		must(t, r.Leave(brief(t), "p1"))
		if errors.Is(err, unix.ETXTBSY) && late {
			continue // it was written for longer than it is waited for
		}
		must(t, err)
		return
	}
}

// TestAddIsCancelled: the plugin's whole process group goes with the caller, and DEL takes back what it did.
func TestAddIsCancelled(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	r.does("one", "ADD", hang)
	ctx, cancel := context.WithCancel(brief(t))
	done := make(chan error, 1)
	go func() {
		_, err := r.Add(ctx, pod("p1"))
		done <- err
	}()
	r.soon("the plugin runs", func() bool { return r.pids() != nil })
	pids := r.pids()
	cancel()
	err := <-done
	fails(t, err, "CNI ADD by plugin one", "the caller gave up")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r.gone(pids)
	must(t, r.Leave(brief(t), "p1"))
	if got := r.called("one DEL p1"); got != 1 || len(r.records()) > 0 {
		t.Errorf("%d DELs, records %q", got, r.records())
	}
}

// TestHostPortsThatNobodyMaps: a pod with one comes up, and the log says once that it may lead nowhere.
func TestHostPortsThatNobodyMaps(t *testing.T) {
	r := newRig(t, "", "one")
	r.configure("10-test.conflist", `{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"one","capabilities":{"portMappings":false}}]}`)
	r.open()
	r.add("p0")
	for _, id := range []string{"p1", "p2"} {
		p := pod(id)
		p.Ports = []PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}
		_, err := r.Add(brief(t), p)
		must(t, err)
	}
	if got := strings.Count(r.log.String(), "nothing listens there"); got != 1 || !strings.Contains(r.log.String(), "pod=ns/name-p1 port=8080") {
		t.Errorf("the log says so %d times", got)
	}
	if in := r.input("one", "ADD"); in["runtimeConfig"] != nil {
		t.Errorf("the plugin was given %v", in["runtimeConfig"])
	}
}

// TestAddWaitsForTheNamespace: an attachment is recorded before the pod's namespace is there, plugins run after. Of a pod whose namespace never comes
// nothing is left, and no plugin hears.
func TestAddWaitsForTheNamespace(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	failed := errors.New("no namespace")
	for _, outcome := range []error{failed, nil} {
		waits, come, done := make(chan bool), make(chan error), make(chan error, 1)
		p := pod("p1")
		p.Pinned = func(context.Context) error {
			close(waits)
			return <-come
		}
		go func() {
			_, err := r.Add(brief(t), p)
			done <- err
		}()
		<-waits
		if got := r.records(); !slices.Equal(got, []string{"p1"}) || len(r.calls()) > 0 {
			t.Errorf("while there is no namespace: records %q, calls %q", got, r.calls())
		}
		come <- outcome
		if err := <-done; !errors.Is(err, outcome) {
			t.Errorf("%v, want %v", err, outcome)
		}
		if outcome == nil {
			continue
		}
		if len(r.records())+len(r.calls()) > 0 {
			t.Errorf("without a namespace: records %q, calls %q", r.records(), r.calls())
		}
		// A GC would take others' pods on a network for stale that podlet never had one on.
		if _, err := os.Stat(r.path("state/networks/net")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the network is noted as used: %v", err)
		}
	}
	if got := r.called("one ADD p1"); got != 1 {
		t.Errorf("%d ADDs", got)
	}
}
