"""What a member gives besides words: a picture to edit, a mask, a LoRA. Through the sandbox, to the job in the queue."""

from __future__ import annotations
