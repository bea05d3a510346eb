"""--format of the listing commands: templates, tables, JSON, errors. The engine itself is in src/cli/template_test.cpp."""

import json

from engine import EngineTest


class Format(EngineTest):
    def test_ps_and_images(self):
        ident = self.start("--name", "web", "-l", "tier=front", "-l", "x=1")
        self.assertEqual(self.onggi("ps", "--format", "{{.Names}} {{.Image}} {{.State}} {{.Label \"tier\"}}|{{.Label \"no\"}}"),
                         "web busybox running front|\n")
        self.assertEqual(self.onggi("ps", "--no-trunc", "--format", "{{slice .ID 0 12}}"), ident[:12] + "\n")
        table = self.onggi("ps", "--format", "table {{.Names}}\t{{upper .State}}").split("\n")
        self.assertEqual(table[0].split(), ["NAMES", "STATE"])
        self.assertEqual(table[1].split(), ["web", "RUNNING"])
        row = json.loads(self.onggi("ps", "--format", "json"))
        self.assertEqual((row["Names"], row["State"], row["ID"]), ("web", "running", ident[:12]))
        self.assertEqual(json.loads(self.onggi("ps", "--format", "{{json .}}")), row)
        self.assertEqual(self.onggi("images", "--format", "{{.Repository}}:{{.Tag}}"), "busybox:latest\n")
        self.assertEqual(self.onggi("ps", "--format", "{{if eq .State \"exited\"}}x{{else}}{{json .Names}}{{end}}"), '"web"\n')

    def test_errors_name_the_place(self):
        self.start("--name", "web")
        text = self.fails("ps", "--format", "{{.Names}} {{.Nme}}")
        self.assertIn('template:1:14: there is no field "Nme" (there are: ', text)
        self.assertIn("Names", text)
        self.assertIn("template:1:3: function \"nope\" not defined", self.fails("ps", "--format", "{{nope}}"))
        self.assertIn("{{end}} is missing", self.fails("ps", "--format", "{{if .ID}}"))
