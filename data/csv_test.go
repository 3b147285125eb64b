package data

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

var adultColumns = strings.Fields(`age workclass fnlwgt education education-num marital-status occupation relationship race sex
	capital-gain capital-loss hours-per-week native-country income`)

func adult(t *testing.T) Config {
	return Config{Source: "csv", Path: shared(t, "adult/adult.data"), Test: shared(t, "adult/adult.test"), Columns: adultColumns, Target: "income"}
}

func TestAdult(t *testing.T) {
	t.Parallel()
	train, valid, err := Open(adult(t))
	require.NoError(t, err)
	require.Equal(t, []int{32_561, 16_281}, []int{train.Len(), valid.Len()})
	info := train.Info()
	require.Equal(t, []string{"<=50K", ">50K"}, info.Labels)
	// adult.names: 6 continuous columns; 8, 16, 7, 14, 6, 5, 2 and 41 values, less one that never occurs with
	// a training row (none), each with one more feature for the missing value.
	require.Equal(t, tensor.Shape{6 + 8 + 16 + 7 + 14 + 6 + 5 + 2 + 41 + 8}, train.Fields()[0].Shape)
	names := info.Table.FeatureNames()
	require.Len(t, names, train.Fields()[0].Shape[0])
	x := tensor.View[float32](readSample(t, train, 0)[0])
	on := []string{}
	for i, v := range x {
		if v == 1 {
			on = append(on, names[i])
		}
	}
	require.Equal(t, []string{"workclass=State-gov", "education=Bachelors", "marital-status=Never-married", "occupation=Adm-clerical",
		"relationship=Not-in-family", "race=White", "sex=Male", "native-country=United-States"}, on)
	require.InDelta(t, (39-38.5816)/13.6402, x[0], 1e-4, "age by the published mean and deviation")
	positive := 0
	for i := range valid.Len() {
		positive += int(tensor.View[int32](readSample(t, valid, i)[1])[0])
	}
	require.Equal(t, 3846, positive, "the labels of adult.test end in a dot")

	// A stored schema encodes rows the same way.
	raw, err := json.Marshal(info.Table)
	require.NoError(t, err)
	var schema Schema
	require.NoError(t, json.Unmarshal(raw, &schema))
	row := strings.Split("39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, United-States,", ",")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	again := make([]float32, schema.Features())
	require.NoError(t, schema.Encode(row, again, nil))
	require.Equal(t, x, again)
	require.ErrorContains(t, schema.Encode(row[:3], again, nil), "row has 3 cells, expected 15")
	row[0] = "old"
	require.ErrorContains(t, schema.Encode(row, again, nil), `column "age": "old" is not a number`)
}

func TestElectricity(t *testing.T) {
	t.Parallel()
	train, valid, err := Open(Config{Source: "csv", Path: shared(t, "electricity/elec.csv")})
	require.NoError(t, err)
	require.Equal(t, 45_312, train.Len()+valid.Len())
	require.Equal(t, 2, train.Info().Classes, "a target of two whole numbers is a class")
	require.Equal(t, tensor.Shape{6}, train.Fields()[0].Shape)
}

func TestMissingAndUnseenValues(t *testing.T) {
	path := write(t, "a.csv", []byte("x,c,y\n1,red,no\n,blue,yes\n3,?,no\n2,green,yes\n"))
	train, valid, err := Open(Config{Source: "csv", Path: path, Split: 0.75})
	require.NoError(t, err)
	require.Equal(t, []string{"x", "c=?", "c=blue", "c=red"}, train.Info().Table.FeatureNames())
	for i, want := range [][]float32{{-1, 0, 0, 1}, {0, 0, 1, 0}, {1, 1, 0, 0}} {
		require.Equal(t, want, tensor.View[float32](readSample(t, train, i)[0]))
	}
	require.Equal(t, []float32{0, 1, 0, 0}, tensor.View[float32](readSample(t, valid, 0)[0]), "green was not seen in training")

	embed, _, err := Open(Config{Source: "csv", Path: path, Split: 0.75, Categories: "embed"})
	require.NoError(t, err)
	require.Equal(t, []int{3}, embed.Info().Table.Categories())
	b := readSample(t, embed, 0)
	require.Equal(t, []float32{-1}, tensor.View[float32](b[0]))
	require.Equal(t, []int32{2}, tensor.View[int32](b[1]))

	number, _, err := Open(Config{Source: "csv", Path: path, Split: 0.5, Target: "y", Columns: []string{"x:ignore"}})
	require.NoError(t, err)
	require.Equal(t, []string{"c=?", "c=blue", "c=red"}, number.Info().Table.FeatureNames())
}

func TestBadTablesAreOneSentence(t *testing.T) {
	const good = "x,c,y\n1,a,p\n2,b,q\n3,a,p\n4,b,q\n"
	many := "x,y\n" + strings.Repeat("1,0\n2,1\n", 100)
	for want, c := range map[string]struct {
		file string
		cfg  Config
	}{
		`data.target: column "z" is not in`:                                         {good, Config{Target: "z"}},
		`data.columns: column "z" is not in`:                                        {good, Config{Columns: []string{"x", "z"}}},
		`which has x, c, y`:                                                         {good, Config{Target: "w"}},
		`a.csv:4: 2 cells, expected 3`:                                              {"x,c,y\n1,a,p\n2,b,q\n3,a\n", Config{}},
		`a.csv:1: 3 cells, but data.columns names 2 columns`:                        {"1,a,p\n2,b,q\n", Config{Columns: []string{"u", "v"}}},
		`a.csv:3: column "x": "2o" is not a number`:                                 {"x,c,y\n1,a,p\n2o,b,q\n3,a,p\n", Config{Columns: []string{"x:numeric"}}},
		`a.csv:202: column "x": "l2" is not a number`:                               {many + "l2,1\n3,0\n", Config{Split: 0.999}},
		`a.csv:5: column "x": "z" is not a number`:                                  {"x,c,y\n1,a,p\n2,b,q\n3,a,p\nz,b,q\n", Config{Split: 0.75}},
		`a.csv: no rows`:                                                            {"x,c,y\n", Config{}},
		`a.csv:3: column 5: extraneous or missing "`:                                {"x,y\n1,\"a\nb,c\n", Config{}},
		`kind "text" is unknown`:                                                    {good, Config{Columns: []string{"x:text"}}},
		`every column needs a name of its own`:                                      {"x,x,y\n1,2,3\n", Config{}},
		`a.csv:4: column "y": class "r" does not occur in the training rows (p, q)`: {"x,y\n1,p\n2,q\n3,r\n", Config{Split: 0.7}},
		`a.csv:3: column "y": the value to predict is missing`:                      {"x,y\n1,p\n2,?\n3,q\n4,q\n", Config{}},
		`has only the class`:                                                        {"x,y\n1,p\n2,p\n3,p\n", Config{}},
		`the columns make 0 features`:                                               {good, Config{Columns: []string{"x:ignore", "c:ignore"}}},
		`cannot be of kind ignore`:                                                  {good, Config{Columns: []string{"y:ignore"}}},
		`expected at least one of each`:                                             {"x,y\n1,p\n", Config{}},
	} {
		c.cfg.Source, c.cfg.Path = "csv", write(t, "a.csv", []byte(c.file))
		_, _, err := Open(c.cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	a, b := write(t, "a.csv", []byte(good)), write(t, "b.csv", []byte("x,d,y\n1,a,p\n"))
	_, _, err := Open(Config{Source: "csv", Path: a, Test: b})
	require.ErrorContains(t, err, `column 2 is "d"`)
}
