"""List the words flux-tiny can read. Both text encoders share the list; any other word becomes the unknown token."""

from typing import Final

PAD: Final = "<pad>"
END: Final = "</s>"
UNKNOWN: Final = "<unk>"
START: Final = "<s>"

SPECIAL: Final = (PAD, END, UNKNOWN, START)

_WORDS = """
red crimson scarlet orange yellow golden green blue purple violet pink magenta brown black white gray grey silver cyan
turquoise teal dark light bright pale colored coloured colorful colourful
circle circles disc discs dot dots ball balls square squares box boxes triangle triangles star stars heart hearts
diamond diamonds rhombus cross crosses plus ring rings donut donuts shape shapes
small tiny little medium large big huge giant
left right top bottom upper lower middle center centre corner corners half side edge hand
one two three four five single pair couple 1 2 3 4 5
above below under beneath over beside next near between behind front
a an the of in on at to with and from into by is are there it its for up down under through against across
background backdrop backgrounds plain solid gradient fading fade fades striped stripes stripe checkered chequered
checkerboard dotted polka pattern patterned
house houses home cottage roof door window windows tree trees forest day daytime night nighttime midnight sky cloud
clouds sun sunny sea ocean water waves lake sunset sundown dusk evening sunrise beach horizon mountain mountains peak
peaks snow snowy valley rocket spaceship space planet planets flying launching snowman winter carrot nose hat snowing
balloon balloons floating hot air boat boats sailboat ship sail sails sailing fish swimming underwater cat cats kitten
face faces head whiskers flower flowers daisy petals stem blooming garden smiling smiley smile happy emoji car cars
automobile driving road street wheels rainbow arch moon crescent starry glowing shining green hills hill field grass
meadow landscape scene view
picture image drawing painting photo photograph illustration icon clipart render sketch poster cartoon art artwork
digital simple flat minimal minimalist cute beautiful nice lovely clean vivid crisp clear detailed high quality highly
colors during rhombuses pluses 4k 8k hd masterpiece style vector abstract geometric
child childs children childrens s kids book oil watercolor watercolour
please draw me show make paint create i want some you can see we my
"""

WORDS: Final[tuple[str, ...]] = tuple(dict.fromkeys(_WORDS.split()))
TOKENS: Final[tuple[str, ...]] = SPECIAL + WORDS
"""Every token in the order of its id."""
