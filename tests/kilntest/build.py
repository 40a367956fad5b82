"""Builds of small contexts written on the spot."""

from kilntest.request import Request, write_context


class Builder:
    """builder({file: text, "Dockerfile": …}, …) has its client build; `base` is busybox. More arguments are Request's.
    Unless `outputs` are given, what was made is in the folder builder.out."""

    def __init__(self, client, layout, folder):
        self.client, self.layout, self.folder = client, layout, folder
        self.count = 0

    def request(self, files, **options):
        """The request, with files written to a fresh folder; `out` is set to one that the result goes to."""
        self.count += 1
        context = write_context(self.folder / f"context{self.count}", files)
        self.out = self.folder / f"out{self.count}"
        options.setdefault("outputs", [f"type=local,dest={self.out}"])
        contexts = {"base": self.layout, **options.pop("contexts", {})}
        return Request(context, contexts=contexts, **options)

    def __call__(self, files, check=True, **options):
        if isinstance(files, str):
            files = {"Dockerfile": files}
        return self.client.build(self.request(files, **options), check=check)

    def read(self, path):
        return (self.out / path).read_text()
