package image

import "time"

// Details are all that the store knows of an image.
type Details struct {
	Image
	// Layers: the lowest first.
	Layers []LayerDetails
}

// LayerDetails are what the store knows of one layer.
type LayerDetails struct {
	DiffID Digest
	// Bytes and Inodes are what it takes on the disk.
	Bytes, Inodes int64
	Unpacked      time.Time
	// Durable: it is known to have reached the disk.
	Durable bool
	// NotExportable says why the layer's tar can't be made again; "": it can.
	NotExportable string `json:",omitempty"`
}

// Inspect finds an image as Get does.
func (s *Store) Inspect(ref string) (Details, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findLocked(ref)
	if err != nil {
		return Details{}, err
	}
	d := Details{Image: s.viewLocked(i)}
	for _, id := range i.Layers {
		l := s.mu.layers[id]
		one := LayerDetails{DiffID: id, Bytes: l.Bytes, Inodes: l.Inodes, Unpacked: l.Unpacked, Durable: l.durable}
		if l.Headers == 0 {
			one.NotExportable = noHeaders(&l.layerRecord).Error()
		}
		d.Layers = append(d.Layers, one)
	}
	return d, nil
}
