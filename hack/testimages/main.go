// Command testimages makes the images that tests and demos use, from the machine's Debian packages and small Go programs.
//
//	go run ./hack/testimages -o DIR
//
// leaves in DIR an OCI image layout for each image (busybox, tools, scratch) and the same as a docker-archive (busybox.tar, …), and prints their names and ids. What
// it fetches and builds is kept under build/testimages; the second run needs no network.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"podlet/hack/testimages/testimage"
)

func main() {
	out := flag.String("o", "", "`directory` to write the images to, made if need be")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	for _, which := range []string{"busybox", "tools", "scratch"} {
		if err := write(*out, which); err != nil {
			fmt.Fprintf(os.Stderr, "testimages: %s: %v\n", which, err)
			os.Exit(1)
		}
	}
}

func write(out, which string) error {
	image, err := testimage.Make(which)
	if err != nil {
		return err
	}
	id, err := image.ID()
	if err != nil {
		return err
	}
	dir := filepath.Join(out, which)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := image.WriteLayout(dir); err != nil {
		return err
	}
	f, err := os.Create(dir + ".tar")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := testimage.WriteDockerArchive(f, image); err != nil {
		return err
	}
	fmt.Printf("%-30s %s  %s\n", image.Names[0], id[:19], dir)
	return f.Close()
}
