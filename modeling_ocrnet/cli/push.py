"""Share a checkpoint on the Hugging Face Hub.

    ocrnet push runs/street_scenes/model you/ocrnet-street-scenes --private

Uploads the weights, the code, the image processor, the recipe, the metrics and a model card made from them, in one
commit. Log in first (`hf auth login`), or set HF_TOKEN. --pr proposes the files to a repository that exists.
"""

from ..hub.push import push
from .parser import Parser
from .run import command


def build_parser() -> Parser:
    parser = Parser(usage="%(prog)s FOLDER OWNER/NAME [options]", description=__doc__)
    about = "A model folder: a run's `model`, or a folder that save_pretrained wrote."
    parser.add_argument("folder", type=str, help=about)
    parser.add_argument("repo_id", type=str, help="The repository, owner/name; it is created if it doesn't exist.")
    parser.add_option("--private", type=bool, default=False, help="Create a private repository.")
    about = "Open a pull request on a repository that exists."
    parser.add_option("--pr", type=bool, default=False, help=about)
    return parser


@command("push_to_hub.py")
def main(argv: list[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    pushed = push(options.folder, options.repo_id, private=options.private, pull_request=options.pr)
    print(f"{len(pushed.files)} files uploaded: {', '.join(pushed.files)}")
    print(pushed.url)


if __name__ == "__main__":
    main()
