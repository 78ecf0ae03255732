package machine

import "io"

// Attach carries bytes between a terminal and the shell's, and returns at the machine's end. in is read by a goroutine that lives until its reader returns.
func (m *Machine) Attach(in io.Reader, out io.Writer) error {
	go io.Copy(m.channel, in)
	_, err := io.Copy(out, m.channel)
	m.Kill()
	<-m.ended
	return err
}
