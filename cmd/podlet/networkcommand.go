package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"podlet/internal/network/bridge"
)

func networkCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "network",
		Short: "List pods' addresses, and take the built-in pod network down",
	})
	o := defaultOptions()
	cmd.PersistentFlags().StringVar(&o.State, "state", o.State, "podlet's directory for what dies with the boot")
	cmd.AddCommand(networkListCommand(o), networkRemoveCommand(o))
	return cmd
}

func networkListCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the pods that have addresses, with their host ports and limits",
		Long: `List the pods that have addresses, with their host ports and limits.

If no podlet serves, these are the pods of the built-in network alone, and their
names are not known.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := formatOf(cmd)
			if err != nil {
				return err
			}
			if err := absolute("state", o.State); err != nil {
				return err
			}
			list, err := networkPods(cmd.Context(), o)
			if err != nil {
				return err
			}
			slices.SortFunc(list, func(a, b networkPod) int {
				return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.Pod, b.Pod))
			})
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			return printNetwork(cmd.OutOrStdout(), list)
		},
	}
	outputFlag(cmd)
	return cmd
}

// networkPod is a pod that has addresses.
type networkPod struct {
	Pod string `json:"pod"`
	// Namespace and Name are "" where no podlet serves that knows them.
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	IPs       []netip.Addr  `json:"ips"`
	HostPorts []networkPort `json:"hostPorts"`
	// ToPod and FromPod are limits in bits per second, 0 for none.
	ToPod   uint64 `json:"toPod"`
	FromPod uint64 `json:"fromPod"`
}

type networkPort struct {
	Protocol string `json:"protocol"`
	// HostIP is "" for all of the node's addresses.
	HostIP   string `json:"hostIP"`
	HostPort uint16 `json:"hostPort"`
	PodPort  uint16 `json:"podPort"`
}

func (p networkPort) String() string {
	host := fmt.Sprint(p.HostPort)
	if a, err := netip.ParseAddr(p.HostIP); err == nil {
		host = netip.AddrPortFrom(a, p.HostPort).String()
	}
	return fmt.Sprintf("%s->%d/%s", host, p.PodPort, p.Protocol)
}

func printNetwork(w io.Writer, pods []networkPod) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "POD\tID\tADDRESSES\tHOST PORTS\tTO POD\tFROM POD")
	for _, p := range pods {
		name := "<unknown>"
		if p.Name != "" {
			name = p.Namespace + "/" + p.Name
		}
		fmt.Fprintf(t, "%s\t%.12s\t%s\t%s\t%s\t%s\n", name, p.Pod, words(p.IPs), words(p.HostPorts), bitRate(p.ToPod), bitRate(p.FromPod))
	}
	return t.Flush()
}

func words[T fmt.Stringer](list []T) string {
	if len(list) == 0 {
		return "-"
	}
	var all []string
	for _, s := range list {
		all = append(all, s.String())
	}
	return strings.Join(all, ",")
}

func bitRate(bits uint64) string {
	switch {
	case bits == 0:
		return "-"
	case bits < 1e6:
		return fmt.Sprintf("%.4g kbit/s", float64(bits)/1e3)
	case bits < 1e9:
		return fmt.Sprintf("%.4g Mbit/s", float64(bits)/1e6)
	}
	return fmt.Sprintf("%.4g Gbit/s", float64(bits)/1e9)
}

func networkRemoveCommand(o *options) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Take the built-in pod network down: bridge, rules, and what the node's forwarding was",
		Long: `Take the built-in pod network of a podlet that was stopped down: its bridge, its
nftables table, the leases, and the switches of the kernel that it changed (IP
forwarding), which get their former values.

It refuses while a podlet serves with it, or pods have addresses of it. The next
podlet makes a new one. Where there is no network it says so, and succeeds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := absolute("state", o.State); err != nil {
				return err
			}
			_, missing := os.Stat(o.bridgeDir())
			err := bridge.TakeDown(cmd.Context(), o.bridgeDir(), force)
			if errors.Is(err, bridge.ErrInUse) {
				return fmt.Errorf("%w: stop that podlet first", err)
			}
			if errors.Is(err, bridge.ErrHasPods) {
				return fmt.Errorf("%w, or use --force: then they run on without a network", err)
			}
			if err == nil && errors.Is(missing, fs.ErrNotExist) {
				fmt.Fprintf(cmd.ErrOrStderr(), "there is no pod network in %s (see --state)\n", o.bridgeDir())
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "take it from the pods that have addresses, for good")
	return cmd
}
