"""Share a checkpoint on the Hugging Face Hub.

    python scripts/push_to_hub.py runs/street_scenes/model you/ocrnet-street-scenes --private

Uploads the weights, the code, the image processor, the recipe, the metrics and a model card made from them, in one
commit. Log in first (`hf auth login`), or set HF_TOKEN. --pr proposes the files to a repository that exists.
"""

import argparse

from ..hub.push import push
from .run import command


@command("push_to_hub.py")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="What training left in <output_dir>/model, or save_pretrained wrote.")
    parser.add_argument("repo_id", help="owner/name on the Hub; it is made if it doesn't exist.")
    parser.add_argument("--private", action="store_true", help="Nobody else may see the new repository.")
    parser.add_argument("--pr", action="store_true", help="Open a pull request on a repository that exists.")
    options = parser.parse_args(argv)
    pushed = push(options.folder, options.repo_id, private=options.private, pull_request=options.pr)
    print(f"{len(pushed.files)} files uploaded: {', '.join(pushed.files)}")
    print(pushed.url)


if __name__ == "__main__":
    main()
