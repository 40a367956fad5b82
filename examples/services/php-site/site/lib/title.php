<?php
function title(): string {
    return "A page";
}
