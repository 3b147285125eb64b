package train

import (
	"fmt"

	"ringo/data"
	"ringo/models"
	"ringo/runtime/tensor"
)

// fit completes a model's configuration with what the data set says: vocabulary, classes, input shape and
// embedded categories. A value that the configuration gives must agree.
func fit(c models.Config, ds data.Dataset) (*models.Model, error) {
	info := ds.Info()
	language := info.Kind == data.KindText
	reads, err := models.ReadsText(c.Name)
	if err != nil {
		return nil, err
	}
	if reads != language {
		return nil, fmt.Errorf("model.name: %s and data of kind %s do not go together: gpt and llama read text, the others images or tables", c.Name, info.Kind)
	}
	for _, f := range ds.Fields() {
		switch {
		case (f.Name == models.Images || f.Name == models.Features) && len(c.Input) == 0:
			c.Input = f.Shape
		case f.Name == models.Targets && !language:
			return nil, fmt.Errorf("data.target: a numeric column, the models here predict classes; give data.target a column of categories")
		}
	}
	if language {
		if c.Vocab == 0 {
			c.Vocab = info.Vocab
		}
		if c.Vocab < info.Vocab {
			return nil, fmt.Errorf("model.vocab: found %d, the data set has %d token ids; leave the key out or raise it", c.Vocab, info.Vocab)
		}
	} else {
		if c.Classes == 0 {
			c.Classes = info.Classes
		}
		if c.Classes < info.Classes {
			return nil, fmt.Errorf("model.classes: found %d, the data set has %d; leave the key out or raise it", c.Classes, info.Classes)
		}
		if info.Table != nil && len(c.Categories) == 0 {
			c.Categories = info.Table.Categories()
		}
	}
	m, err := models.New(c)
	if err != nil {
		return nil, err
	}
	return m, checkInputs(m, ds.Fields())
}

// checkInputs refuses a data set whose samples have another shape than the model's configuration says.
func checkInputs(m *models.Model, fields []data.Field) error {
	for _, f := range fields {
		var want tensor.Shape
		switch f.Name {
		case models.Images, models.Features:
			want = m.Input
		case models.Tokens:
			want = tensor.Shape{m.Context}
		default:
			continue
		}
		if !f.Shape.Equal(want) {
			return fmt.Errorf("data: samples of %s have shape %v, the model expects %v", f.Name, f.Shape, want)
		}
	}
	return nil
}
