# A small real configuration. terraform_data is built into Terraform and
# OpenTofu, so nothing has to be downloaded. Change it, commit, and trigger the
# stack again.

terraform {
  required_version = ">= 1.4"
}

variable "greeting" {
  type    = string
  default = "hello from a private worker"
}

resource "terraform_data" "landing_pad" {
  input = {
    name     = "pad-1"
    greeting = var.greeting
  }
}

resource "terraform_data" "beacon" {
  triggers_replace = [terraform_data.landing_pad.output.name]

  provisioner "local-exec" {
    command = "echo \"beacon of ${terraform_data.landing_pad.output.name} is lit\""
  }
}

output "greeting" {
  value = terraform_data.landing_pad.output.greeting
}

output "beacon" {
  value = "lit for ${terraform_data.landing_pad.output.name}"
}

output "launch_code" {
  value     = terraform_data.beacon.id
  sensitive = true
}
