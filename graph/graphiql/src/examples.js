// One tab per file of examples/, in the order in which a clinician would meet them.
import admission from "../examples/admission.graphql?raw";
import breakGlass from "../examples/break-glass.graphql?raw";
import chart from "../examples/chart.graphql?raw";
import imaging from "../examples/imaging.graphql?raw";
import live from "../examples/live.graphql?raw";
import notes from "../examples/notes.graphql?raw";
import trends from "../examples/trends.graphql?raw";
import ward from "../examples/ward.graphql?raw";

export const EXAMPLES = [chart, ward, live, trends, notes, imaging, admission, breakGlass].map((query) => ({ query }));
